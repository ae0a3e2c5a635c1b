#!/usr/bin/env bash
# denoising-diffusion-pytorch: interpolate() takes and gives images in another range than the model's.
#
# Version:  denoising-diffusion-pytorch 2.3.4 (numpy 2.4.6, torch 2.14.1, torchvision 0.29.1).
# Expected: GaussianDiffusion takes images in [0, 1] for training and samples such ones
#           (auto_normalize=True, the default), so that interpolate() between two of them gives such ones.
# Seen:     a model of data that are a single grey image of 0.9 has no loss on it and samples 0.9. Between
#           that image and itself, interpolate() gives 0.8, from any step but 0: what comes out is an
#           image in [-1, 1]. So is what goes in: from step 0, which leaves it as it is, comes 0.9.
# Source:   denoising_diffusion_pytorch/denoising_diffusion_pytorch.py, GaussianDiffusion.interpolate, which
#           calls neither normalize, as forward does, nor unnormalize, as the samplers do.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check \
  denoising-diffusion-pytorch==2.3.4 numpy==2.4.6 torch==2.14.1 torchvision==0.29.1

"$folder/venv/bin/python" - 2> "$folder/progress" <<'PYTHON'
import sys

import torch
from denoising_diffusion_pytorch import GaussianDiffusion

GREY = 0.9


class Exact(torch.nn.Module):
    """The noise in a noisy version of the image, known exactly."""

    channels = out_dim = 1
    self_condition = random_or_learned_sinusoidal_cond = False

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(()))

    def forward(self, noisy, step, condition=None):
        kept = diffusion.alphas_cumprod[step].view(-1, 1, 1, 1)
        return (noisy - kept.sqrt() * (2 * GREY - 1)) / (1 - kept).sqrt()


diffusion = GaussianDiffusion(Exact(), image_size=8, timesteps=1000, beta_schedule="linear", objective="pred_noise")
image = torch.full((4, 1, 8, 8), GREY)
loss, sampled = diffusion(image).item(), diffusion.sample(4).mean().item()
between = [diffusion.interpolate(image, image, t=t).mean().item() for t in (999, 500, 100)]
taken_in = diffusion.interpolate(image, image, t=0).mean().item()  # no step, and hardly any noise
print(f"loss {loss:.1g}, sample {sampled:.3f}, between the image and itself:", *(f"{x:.3f}" for x in between))
print(f"without a step {taken_in:.2f}")
as_described = loss < 1e-9 and abs(sampled - GREY) < 1e-3 and all(abs(x - (2 * GREY - 1)) < 1e-3 for x in between)
as_described &= abs(taken_in - GREY) < 0.02
sys.exit(not as_described)
PYTHON
