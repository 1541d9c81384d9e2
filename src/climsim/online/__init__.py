"""Coupled runs: the coupler, the run loop, history files and hosts."""
