"""Mixed load under random faults, and a look at what is left afterwards."""
