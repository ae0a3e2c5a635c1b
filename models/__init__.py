"""Generative models: one file per algorithm, all on the contract of `models.base`."""
