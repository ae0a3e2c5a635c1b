"""Networks that predict what diffusion models need."""
