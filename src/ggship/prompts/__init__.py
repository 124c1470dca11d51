"""Chat templates: the training prompt, and what the server makes of it."""
