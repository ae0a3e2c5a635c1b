"""Training: the loop, its recipe, its budget and what it keeps."""
