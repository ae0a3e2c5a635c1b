"""Metrics of generated samples: pure functions of features of real and fake sets."""
