"""TLS: the contexts with which exproxy meets clients, and those with which it meets backends."""
