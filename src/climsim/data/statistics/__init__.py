"""Statistics of a store, and tables of them."""
