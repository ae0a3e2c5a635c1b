"""Autoencoders with Gaussian latents: algorithm and networks are independent parts."""
