#!/usr/bin/env bash
# diffusers: `trailing` spacing gives one timestep too many, -1, for some numbers of steps.
#
# Version:  diffusers 0.42.1 (numpy 2.4.6, torch 2.13.0).
# Expected: DDIMScheduler(timestep_spacing="trailing").set_timesteps(61) sets 61 timesteps in
#           0..999, and sampling with the exact denoiser of N(0, 0.5^2) gives a standard deviation
#           near 0.5, as 60 and 62 steps do.
# Seen:     62 timesteps, the last one -1. The samples are complete at the 61st; the 62nd step reads
#           alphas_cumprod[-1], the noisiest level, and shrinks them to about 0. 121 and 122 steps
#           of 1,000 do the same, 62 of the numbers of steps from 1 to 1,000 in all (counted below).
# Cause:    set_timesteps rounds numpy.arange(T, 0, -T / S). arange computes its length in floating
#           point: where T / S is rounded down, S steps end just above 0, and that rest rounds to 0,
#           minus 1. Table 2 of Lin et al. 2023 (arXiv:2305.08891), which the docstring cites,
#           defines the spacing for S steps.
# Source:   diffusers/schedulers/scheduling_ddim.py and scheduling_ddpm.py, set_timesteps.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check \
  diffusers==0.42.1 numpy==2.4.6 torch==2.13.0

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from diffusers import DDIMScheduler, DDPMScheduler

VARIANCE = 0.25  # of the data, N(0, VARIANCE), whose exact denoiser is linear


def sample_std(kind, steps):
    """Timesteps that are set, the last one, and the spread of 20,000 samples."""
    scheduler = kind(num_train_timesteps=1000, timestep_spacing="trailing", clip_sample=False)
    scheduler.set_timesteps(steps)
    x = torch.randn(20_000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    for t in scheduler.timesteps:
        alpha_bar = scheduler.alphas_cumprod[t]
        noise = x * (1 - alpha_bar).sqrt() / (alpha_bar * VARIANCE + 1 - alpha_bar)
        x = scheduler.step(noise, t, x).prev_sample
    return len(scheduler.timesteps), int(scheduler.timesteps[-1]), x.std().item()


as_described = True
for kind in (DDIMScheduler, DDPMScheduler):
    for steps in (60, 61, 62, 121, 122):
        count, last, std = sample_std(kind, steps)
        print(f"{kind.__name__}: {steps} steps asked, {count} set, last {last}, std {std:.4f}")
        wrong = steps in (61, 121, 122)
        as_described &= (count == steps + wrong) and (last == -1) == wrong
        as_described &= std < 0.01 if wrong else 0.4 < std < 0.6

scheduler = DDIMScheduler(num_train_timesteps=1000, timestep_spacing="trailing")
extra = []
for steps in range(1, 1001):
    scheduler.set_timesteps(steps)
    if len(scheduler.timesteps) != steps:
        extra.append(steps)
print(f"{len(extra)} of 1,000 numbers of steps set one timestep too many, the first: {extra[:8]}")
as_described &= len(extra) == 62
if not as_described:
    sys.exit("The behaviour has changed: read this script's first lines again.")
PYTHON
