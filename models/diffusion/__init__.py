"""Diffusion models: algorithms, networks, noise schedules and samplers, one file each."""
