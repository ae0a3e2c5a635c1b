"""Recorded models in formats of other software: one module for each."""
