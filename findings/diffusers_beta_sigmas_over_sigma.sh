#!/usr/bin/env bash
# diffusers: `use_beta_sigmas` spreads a beta distribution over sigma, not over the timesteps.
#
# Version:  diffusers 0.42.1 (numpy 2.4.6, scipy 1.17.1, torch 2.13.0).
# Expected: the option's docstring refers to "Beta Sampling is All You Need" (Lee et al. 2024,
#           arXiv:2407.12173), which takes the quantiles of Beta(0.6, 0.6) as timesteps, and so spends
#           more steps at both ends of the schedule. Sampling with the exact denoiser of N(0, 0.5^2)
#           comes at least as close to a standard deviation of 0.5 as evenly spaced timesteps do.
# Seen:     the quantiles are placed between sigma_min and sigma_max. With DDPM's linear schedule,
#           whose sigmas reach 157, 50 steps have two nonzero sigmas below 1, where the image is
#           decided. Standard deviations with 50 steps: Euler 0.33 instead of 0.47 (even) and 0.48
#           (the same quantiles as timesteps), DPM-Solver++ 0.66 instead of 0.50 and 0.51.
# Source:   diffusers/schedulers/scheduling_euler_discrete.py, _convert_to_beta, which the other
#           schedulers copy. The same was corrected in stable-diffusion-webui (pull request 16926).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check \
  diffusers==0.42.1 numpy==2.4.6 scipy==1.17.1 torch==2.13.0

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, EulerDiscreteScheduler
from scipy.stats import beta

VARIANCE = 0.25  # of the data, N(0, VARIANCE), whose exact denoiser is linear
STEPS = 50
DDPM = dict(beta_schedule="linear", beta_start=1e-4, beta_end=0.02)


def sample_std(scheduler):
    """The spread of 20,000 samples by the exact denoiser, whose level lies between timesteps."""
    x = torch.randn(20_000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    x = x * scheduler.init_noise_sigma
    alpha_bar = scheduler.alphas_cumprod.double()
    log_sigma = ((1 - alpha_bar) / alpha_bar).sqrt().log().numpy()
    for t in scheduler.timesteps:
        sigma = np.exp(np.interp(float(t), np.arange(len(log_sigma)), log_sigma))
        level = 1 / (1 + sigma**2)
        seen = scheduler.scale_model_input(x, t)
        noise = seen * (1 - level) ** 0.5 / (level * VARIANCE + 1 - level)
        x = scheduler.step(noise, t, x).prev_sample
    return x.std().item()


quantiles = beta.ppf(1 - np.linspace(0, 1, STEPS), 0.6, 0.6)
as_timesteps = np.rint(quantiles * 999).astype(int).tolist()
as_described = True
for kind in (EulerDiscreteScheduler, DPMSolverMultistepScheduler):
    option = kind(**DDPM, use_beta_sigmas=True)
    option.set_timesteps(STEPS)
    even = kind(**DDPM, timestep_spacing="linspace")
    even.set_timesteps(STEPS)
    paper = kind(**DDPM)
    paper.set_timesteps(timesteps=as_timesteps)
    low = int(((option.sigmas > 0) & (option.sigmas < 1)).sum())
    stds = [sample_std(scheduler) for scheduler in (option, even, paper)]
    print(
        f"{kind.__name__}, {STEPS} steps: use_beta_sigmas has {low} nonzero sigmas below 1 and std "
        f"{stds[0]:.3f}; even timesteps {stds[1]:.3f}, beta quantiles as timesteps {stds[2]:.3f}"
    )
    as_described &= low <= 3 and abs(stds[0] - 0.5) > 0.1
    as_described &= all(abs(std - 0.5) < 0.04 for std in stds[1:])
if not as_described:
    sys.exit("The behaviour has changed: read this script's first lines again.")
PYTHON
