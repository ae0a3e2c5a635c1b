"""Scoring samples: sampling, features of extractors, metrics, and signs of collapse."""
