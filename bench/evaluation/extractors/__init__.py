"""Feature extractors: networks that map images to features, and the origin of their weights."""
