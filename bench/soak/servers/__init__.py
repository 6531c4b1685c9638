"""One server with all services, in a process of its own that can be stopped and killed."""
