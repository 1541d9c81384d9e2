"""Experiments as resumable workflows."""
