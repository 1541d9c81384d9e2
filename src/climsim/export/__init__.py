"""Exported models: one file from raw physical inputs to physical tendencies."""
