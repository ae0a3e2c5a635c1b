"""Diffusion models with known networks: a recorder, and the optimal denoiser of a Gaussian."""

from functools import partial

import torch
from torch import nn

from models.base import DataSpec
from models.diffusion.gaussian import GaussianDiffusion
from models.diffusion.networks.unet import UNet
from models.diffusion.parameterisations import target
from models.diffusion.schedules import ForwardProcess, linear_betas

NETWORK = partial(
    UNet, channels=16, channel_mult=(1, 2), num_res_blocks=1, attention_levels=(), groups=8
)
BETAS = linear_betas(1000)
SHORT = linear_betas(20, 0.01, 0.3)


def unet(*samplers: str) -> GaussianDiffusion:
    """A small U-Net's model of 3x8x8 images with 20 timesteps."""
    torch.manual_seed(0)
    return GaussianDiffusion(spec(3, 8, 8), NETWORK, betas=SHORT, samplers=samplers)


def spec(*shape: int, num_classes: int = 0) -> DataSpec:
    return DataSpec(shape, num_classes, lambda index: torch.zeros(len(index), *shape), 10)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Recorder(nn.Module):
    """Predicts a constant, with a variance where asked to, and remembers what it was given."""

    def __init__(self, data_shape, out_channels=None, num_classes=0, dtype=torch.float32):
        super().__init__()
        self.value = nn.Parameter(torch.full(data_shape, 0.25))
        self.raw = nn.Parameter(torch.zeros(data_shape)) if out_channels else None
        self.effects = nn.Parameter(torch.arange(num_classes + 1) / 10) if num_classes else None
        self.dtype = dtype
        self.calls = []

    def forward(self, x_t, t, y=None):
        self.calls.append((x_t, t, y))
        out = self.value.expand_as(x_t)
        if self.effects is not None:
            out = out + self.effects[y].view(-1, *(1,) * (x_t.dim() - 1))
        if self.raw is not None:
            out = torch.cat([out, self.raw.expand_as(x_t)], dim=1)
        return out.to(self.dtype)


class ExactGaussian(nn.Module):
    """The best prediction for data N(mean, std²), in any parameterisation."""

    def __init__(self, data_shape, betas, predicts, mean=0.1, std=0.2):
        super().__init__()
        self.process = ForwardProcess(betas)
        self.predicts, self.mean, self.std = predicts, mean, std

    def forward(self, x_t, t):
        alpha, sigma = self.process.levels(t, x_t.dim())
        gain = self.std**2 * alpha / (alpha**2 * self.std**2 + sigma**2)
        x_0 = self.mean + gain * (x_t - alpha * self.mean)
        return target(self.predicts, x_0, (x_t - alpha * x_0) / sigma, alpha, sigma)


def exact(predicts="eps", samplers=("ddim-50",), shape=(100,), **options) -> GaussianDiffusion:
    network = partial(ExactGaussian, betas=BETAS, predicts=predicts)
    return GaussianDiffusion(
        spec(*shape), network, betas=BETAS, predicts=predicts, samplers=samplers, **options
    )


def recorded(shape=(2,), betas=BETAS, samplers=("ddim-5",), num_classes=0, **options):
    return GaussianDiffusion(
        spec(*shape, num_classes=num_classes),
        partial(Recorder, dtype=options.pop("dtype", torch.float32)),
        betas=betas,
        samplers=samplers,
        conditional=num_classes > 0,
        **options,
    )
