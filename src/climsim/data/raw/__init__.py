"""Raw step files: listing, checking, downloading, reading, and the features derived from a step."""
