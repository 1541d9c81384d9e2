"""Prepared stores: preparation, format on disk, splits, opening, full check."""
