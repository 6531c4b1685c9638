"""The clients: many threads, each doing one thing after the other."""
