"""The stages of packaging, in the order they run: convert, merge or base, create, prove, evaluate, describe, promote."""
