"""Layers that networks of all families share, with kernels of their own on CPUs."""
