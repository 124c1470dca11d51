"""Bring a proven package to a registry."""
