"""Figures as functions of saved metrics."""
