"""What strangers' files may hold: the strategies and the trials of tests and of scripts/fuzz."""
