"""Find the base model, and say whether the adapter fits it."""
