"""One module for each figure; each defines ``FIGURE``."""
