"""Names people use: staging, promotion, what was released."""
