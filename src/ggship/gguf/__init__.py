"""GGUF files: read, write, merge, quantize, measure. numpy, no torch."""
