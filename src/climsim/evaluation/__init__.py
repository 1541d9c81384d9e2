"""Mergeable metrics, offline and online evaluation."""
