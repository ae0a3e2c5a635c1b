#!/usr/bin/env bash
# rectified-flow-pytorch: several steps of a MeanFlow model are worse than one, and ignore `noise`.
#
# Version:  rectified-flow-pytorch 0.14.0 (numpy 2.4.6, torch 2.14.1, torchvision 0.29.1).
# Expected: MeanFlow.sample(steps=2) follows the mean velocity over each half, as in Geng et al. 2025
#           (arXiv:2505.13447, section 4.4), so that with an exact model any number of steps is exact.
#           Samples from the same `noise` are the same.
# Seen:     with more than one step, the model is asked for the velocity at a moment, and Euler's steps
#           are made with it. For data from N(0, 0.1^2) and the exact model, one step gives a standard
#           deviation of 0.100, two 0.010, four 0.028, and 64 0.09. `noise` is not passed on: with more
#           than one step it is drawn anew, and its number of samples does not count.
# Source:   rectified_flow_pytorch/mean_flow.py, MeanFlow.sample and MeanFlow.slow_sample, which passes a
#           difference of times of zero.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check \
  numpy==2.4.6 rectified-flow-pytorch==0.14.0 torch==2.14.1 torchvision==0.29.1

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from rectified_flow_pytorch import MeanFlow

STD = 0.1  # of the data
SAMPLES = 20_000


def std(t):
    """That of (1 - t) data + t noise."""
    return ((1 - t) ** 2 * STD**2 + t**2).sqrt()


class Exact(torch.nn.Module):
    """The mean velocity from time t - d to t at z; that at t if d is zero."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(()))

    def forward(self, z, t, d):
        t, d = t[:, None].double(), d[:, None].double()
        at_t = (t - (1 - t) * STD**2) / std(t) ** 2
        mean = (1 - std(t - d) / std(t)) / torch.where(d == 0, 1, d)
        return (z * torch.where(d == 0, at_t, mean)).float()


model = Exact()
flow = MeanFlow(model, data_shape=(1,))
noise = torch.randn(SAMPLES, 1, generator=torch.Generator().manual_seed(0))
as_described = True
for steps, expected in ((1, 0.1), (2, 0.01), (4, 0.028), (64, 0.094)):
    z = noise
    for k in range(steps):
        time = torch.full((SAMPLES,), 1 - k / steps)
        z = z - model(z, time, torch.full((SAMPLES,), 1 / steps)) / steps
    library = flow.sample(SAMPLES, steps=steps).std().item()
    print(f"{steps} steps: standard deviation {library:.3f}, by mean velocities {z.std().item():.3f}")
    as_described &= abs(library / expected - 1) < 0.05 and abs(z.std().item() - STD) < 0.003

for steps, equal in ((1, True), (2, False)):
    first, second = (flow.sample(SAMPLES, noise=noise, steps=steps) for _ in range(2))
    print(f"equal noise, {steps} steps: samples are {'equal' if torch.equal(first, second) else 'others'}")
    as_described &= torch.equal(first, second) is equal
if not as_described:
    sys.exit("The behaviour has changed: read this script's first lines again.")
PYTHON
