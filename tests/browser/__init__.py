"""The pages that ggship writes and serves, opened in a real browser."""
