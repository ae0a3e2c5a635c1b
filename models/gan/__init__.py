"""Generative adversarial networks: networks, objectives and penalties are independent parts."""
