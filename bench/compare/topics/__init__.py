"""Analyses of a comparison, and their tables and sentences."""
