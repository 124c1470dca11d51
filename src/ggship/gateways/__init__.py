"""Put a model behind a gateway."""
