"""The tables of persistence: a memory of which client went where."""
