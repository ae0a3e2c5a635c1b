"""Training: loop, recipe, budget, checkpoints and logs."""
