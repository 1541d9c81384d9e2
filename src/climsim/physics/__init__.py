"""Physics on plain arrays, each formula once: for raw data, for coupled runs and for scores."""
