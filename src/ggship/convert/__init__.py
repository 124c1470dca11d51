"""Turn a run's adapter into a GGUF file."""
