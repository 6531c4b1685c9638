"""Operating what runs: its state as values, and what an operator may do to it."""
