"""What ggship ships against what PEFT computes: every PEFT option on tiny random models, in llama.cpp."""
