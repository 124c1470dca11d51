"""Read what training left: files, trainer, adapter config, tensor headers."""
