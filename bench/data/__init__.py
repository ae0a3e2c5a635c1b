"""Data sets: loaded once as uint8 arrays, served as seeded batches."""
