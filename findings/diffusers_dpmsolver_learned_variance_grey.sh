#!/usr/bin/env bash
# diffusers: DPM-Solver with a learned variance returns two channels for a grey image.
#
# Version:  diffusers 0.42.1 (numpy 2.4.6, torch 2.13.0).
# Expected: with variance_type="learned_range" a network has twice as many output channels as its
#           images (Nichol & Dhariwal 2021, arXiv:2102.09672): the noise, then the variance, of which
#           DPM-Solver needs the former. For images of one channel, whose network has two, a step
#           returns one channel, as that of DDPMScheduler does.
# Seen:     DPMSolverMultistepScheduler and DPMSolverSinglestepScheduler return two: the first is
#           right, the second is what the step makes of the same image if the variance is taken for
#           noise. Nothing warns. The next call of a network for grey images then fails for its
#           number of input channels, and with one step nothing fails. Colour images are right.
# Cause:    the noise is cut out as `model_output[:, :3]`, not as the first half of the channels, and
#           two channels broadcast against one.
# Source:   diffusers/schedulers/scheduling_dpmsolver_multistep.py and _singlestep.py,
#           convert_model_output; DDPMScheduler.step splits by sample.shape[1].
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check \
  diffusers==0.42.1 numpy==2.4.6 torch==2.13.0

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import diffusers
import torch

LEARNED = {"variance_type": "learned_range"}
STEPS = 10


def step(name, images, output, **options):
    """What the first of ten steps makes of noise."""
    scheduler = getattr(diffusers, name)(**options)
    scheduler.set_timesteps(STEPS)
    return scheduler.step(output, scheduler.timesteps[0], images).prev_sample


def noise(channels, seed):
    return torch.randn(4, channels, 8, 8, generator=torch.Generator().manual_seed(seed))


as_described = True
SOLVERS = ("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler")
for name in ("DDPMScheduler", *SOLVERS):
    for channels in (3, 1):
        found = step(name, noise(channels, 1), noise(2 * channels, 2), **LEARNED).shape[1]
        print(f"{name}, images of {channels}, output of {2 * channels} channels: {found} returned")
        wrong = name in SOLVERS and channels == 1
        as_described &= found == (2 if wrong else channels)

for name in SOLVERS:
    images, output = noise(1, 1), noise(2, 2)
    both = step(name, images, output, **LEARNED)
    for channel, meaning in enumerate(("noise", "variance")):
        alone = step(name, images, output[:, channel : channel + 1])  # without a learned variance
        equal = torch.allclose(both[:, channel : channel + 1], alone)
        print(f"{name}: channel {channel} is the step with the {meaning} as the noise: {equal}")
        as_described &= equal
if not as_described:
    sys.exit("The behaviour has changed: read this script's first lines again.")
PYTHON
