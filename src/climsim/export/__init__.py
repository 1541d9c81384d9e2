"""Exported models: one TorchScript file from raw physical inputs to physical tendencies."""
