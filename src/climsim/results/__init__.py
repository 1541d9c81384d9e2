"""Saved metrics of a study: opened, joined, named in words, selected and ranked."""
