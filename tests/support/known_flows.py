"""The flow of Gaussian data along straight paths: its velocities and averages in closed form."""

import torch
from torch import Tensor, nn

MEAN, STD = 0.3, 0.2


def deviation(t: Tensor, std: float = STD) -> Tensor:
    """Standard deviation of x_t = (1 - t) x_0 + t eps."""
    return ((1 - t) ** 2 * std**2 + t**2).sqrt()


def moved(x: Tensor, t: Tensor, r: Tensor, mean: float = MEAN, std: float = STD) -> Tensor:
    """Where the probability flow takes x from time t to time r: quantiles keep their place."""
    return (1 - r) * mean + deviation(r, std) / deviation(t, std) * (x - (1 - t) * mean)


def velocity(x: Tensor, t: Tensor, mean: float = MEAN, std: float = STD) -> Tensor:
    """E[eps - x_0 | x_t = x]."""
    covariance = t - (1 - t) * std**2  # of eps - x_0 and x_t
    return -mean + covariance / deviation(t, std) ** 2 * (x - (1 - t) * mean)


def average_velocity(
    x: Tensor, r: Tensor, t: Tensor, mean: float = MEAN, std: float = STD
) -> Tensor:
    """(x_t - x_r) / (t - r) along the flow; its limit where r = t."""
    span = torch.where(t > r, t - r, 1.0)
    return torch.where(t > r, (x - moved(x, t, r, mean, std)) / span, velocity(x, t, mean, std))


class ExactFlow(nn.Module):
    """The network of the exact flow, with the code of one time or of an interval."""

    def __init__(self, data_shape, num_times=1, time_scale=1000.0, mean=MEAN, std=STD):
        super().__init__()
        self.time_scale, self.mean, self.std = time_scale, mean, std
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        times = (code / self.time_scale).view(len(x), -1, *(1,) * (x.dim() - 1))
        t = times[:, 0]
        r = t - times[:, 1] if times.shape[1] == 2 else t
        return average_velocity(x, r, t, self.mean, self.std) + 0 * self.unused


class Smooth(nn.Module):
    """Some smooth function of samples and code."""

    def __init__(self, data_shape, num_times=1, num_classes=0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.7))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        angle = (code.view(len(x), -1) / 500).sum(1).view(-1, *(1,) * (x.dim() - 1))
        return torch.tanh(self.scale * x + torch.sin(angle))
