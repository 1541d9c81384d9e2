"""Batches from a store, and stacked arrays of published sets."""
