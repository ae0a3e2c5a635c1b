"""Drifting models: one-step generators that are regressed onto their own moved samples."""
