"""Training runs: the Lightning module, its callbacks and the entry."""
