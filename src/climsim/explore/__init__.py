"""The interactive page: saved metrics in a browser."""
