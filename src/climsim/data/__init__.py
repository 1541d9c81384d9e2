"""Raw step files, derived features, prepared stores, statistics, batches."""
