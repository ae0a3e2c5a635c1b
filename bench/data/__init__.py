"""Data sets: loaded once as arrays (uint8 images or float32 points), served as seeded batches."""
