#!/usr/bin/env bash
# diffusers: DDPMScheduler adds noise to the final image if the last timestep is not 0.
#
# Version:  diffusers 0.42.1 (numpy 2.4.6, torch 2.13.0).
# Expected: the last step of DDPM adds no noise (Algorithm 2 of Ho et al. 2020, arXiv:2006.11239:
#           z = 0 for it). With data that is 0.5 everywhere and the exact prediction of it, the final
#           samples are 0.5, whatever the number of steps and the spacing of the timesteps.
# Seen:     DDPMScheduler(variance_type="fixed_large", timestep_spacing="trailing") with 100 of 1,000
#           steps returns samples with a standard deviation of 0.043, about 5 of 255 levels of an
#           image in [-1, 1]; with 10 steps it is 0.32. Neither warns. "leading" with steps_offset=1,
#           as in the configurations of Stable Diffusion, adds 0.015. Timesteps that end at 0, and
#           "fixed_small", whose variance is 0 in the last step, give 0.5 exactly.
# Cause:    step() adds noise if `t > 0`, instead of in all steps but the last. "trailing" ends at
#           T / S - 1, which is 0 for S = T steps only.
# Source:   diffusers/schedulers/scheduling_ddpm.py, DDPMScheduler.step ("6. Add noise").
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check \
  diffusers==0.42.1 numpy==2.4.6 torch==2.13.0

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from diffusers import DDPMScheduler

VALUE = 0.5  # of all data


def spread(steps, **options):
    """Last timestep, and root mean square error of 10,000 samples of the exact model."""
    scheduler = DDPMScheduler(prediction_type="sample", clip_sample=False, **options)
    scheduler.set_timesteps(steps)
    x = torch.randn(10_000, 1, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    exact = torch.full_like(x, VALUE)
    for t in scheduler.timesteps:
        x = scheduler.step(exact, t, x, generator=generator).prev_sample
    return int(scheduler.timesteps[-1]), (x - VALUE).square().mean().sqrt().item()


LARGE, SMALL = {"variance_type": "fixed_large"}, {"variance_type": "fixed_small"}
TRAILING = {"timestep_spacing": "trailing"}
CASES = (  # steps, options, last timestep, error
    (1000, LARGE | TRAILING, 0, 0.0),
    (100, LARGE | TRAILING, 9, 0.0435),
    (10, LARGE | TRAILING, 99, 0.321),
    (100, LARGE | {"timestep_spacing": "leading", "steps_offset": 1}, 1, 0.0148),
    (100, LARGE | {"timestep_spacing": "leading"}, 0, 0.0),
    (100, SMALL | TRAILING, 9, 0.0),
)
as_described = True
for steps, options, expected_last, expected in CASES:
    last, error = spread(steps, **options)
    print(f"{steps} steps, {options}: last timestep {last}, error {error:.5f}")
    as_described &= last == expected_last and abs(error - expected) <= 0.03 * expected + 1e-5
if not as_described:
    sys.exit("The behaviour has changed: read this script's first lines again.")
PYTHON
