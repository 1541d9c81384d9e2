"""Configuration groups."""
