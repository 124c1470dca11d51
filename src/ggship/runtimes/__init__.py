"""Where a model runs: Ollama over HTTP, llama.cpp embedded."""
