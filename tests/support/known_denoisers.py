"""Known denoisers for samplers: a smooth function, and the optimal ones of Gaussian data."""

import torch

from models.diffusion.noise_path import Prediction, Spacing, spaced, vp_path
from models.diffusion.schedules import cumulative_alphas, linear_betas

BETAS = linear_betas(1000)
ALPHA_BAR = cumulative_alphas(BETAS)
CLOSE = {"rtol": 0, "atol": 1e-5}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pure_noise(dtype=torch.float32):
    return torch.randn(2, 3, 8, 8, generator=seeded(), dtype=dtype)


def network(x, t):
    """Some smooth x_0 of both arguments; up to 1.3, so that clipping acts."""
    return 1.3 * torch.tanh(0.7 * x + torch.sin(t.to(x.dtype) / 100).view(-1, 1, 1, 1))


def clipped(x, t):
    return Prediction(network(x, t).clamp(-1, 1), torch.sigmoid(x))


def not_clipped(x, t):
    return Prediction(network(x, t))


def path_of(steps, spacing: Spacing = "trailing", alpha_bar=ALPHA_BAR):
    return vp_path(alpha_bar, spaced(len(alpha_bar), steps, spacing))


def gaussian(std, alpha_bar=ALPHA_BAR):
    """E[x_0 | x_t] of data N(0, std²), by timestep."""

    def denoiser(x, t):
        a = alpha_bar[t.long()].view(-1, 1)
        return Prediction((x * a.sqrt() * std**2 / (a * std**2 + 1 - a)).to(x.dtype))

    return denoiser


def gaussian_in_sigma(std):
    """The same for samples without scaling, by noise level."""
    return lambda x, sigma: Prediction(x * std**2 / (std**2 + sigma.to(x.dtype) ** 2).view(-1, 1))
