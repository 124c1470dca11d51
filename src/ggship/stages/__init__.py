"""The stages of packaging, in order: convert, merge or base, create, prove, evaluate, describe, promote."""
