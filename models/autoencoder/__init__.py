"""Autoencoders with Gaussian latents: the algorithm apart from its networks."""
