"""Generative adversarial networks: networks apart from objectives."""
