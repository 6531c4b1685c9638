"""The dashboard in a real browser, before a small server that answers as the admin API does."""
