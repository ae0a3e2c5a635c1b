#!/usr/bin/env bash
# flow_matching: a model moved to another schedule has no velocity at the ends of time.
#
# Version:  flow_matching 1.0.10 (numpy 2.4.6, torch 2.14.1, torchdiffeq 0.2.5, tqdm 4.70.1, which it needs
#           and does not declare).
# Expected: ScheduleTransformedModel changes the schedule of a trained model, for example that of a
#           diffusion model to straight paths. The path has the same ends, so every solver samples as it
#           does with the model itself: standard deviations near the data's 0.5.
# Seen:     the time in the old schedule is found from the ratio of signal and noise, which is 0 at the
#           beginning and infinite at the end. From VPScheduler, whose ratio is never 0, every solver
#           gives NaN from its first step, and so does PolynomialConvexScheduler, whose derivative is 0
#           there. Between CondOTScheduler and CosineScheduler, Euler and midpoint work, but solvers that
#           evaluate the model at the end give NaN, or finite numbers in the hundred thousands, because
#           cos(pi / 2) is not 0 in floats.
# Source:   flow_matching/path/scheduler/schedule_transform.py; torchdiffeq's heun2 and rk4 evaluate at
#           the end of a step. The velocity used is the exact one of data from N(0, 0.5^2).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check \
  flow_matching==1.0.10 numpy==2.4.6 torch==2.14.1 torchdiffeq==0.2.5 tqdm==4.70.1

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from flow_matching.path.scheduler import (
    CondOTScheduler,
    CosineScheduler,
    PolynomialConvexScheduler,
    ScheduleTransformedModel,
    VPScheduler,
)
from flow_matching.solver import ODESolver
from flow_matching.utils import ModelWrapper

STD = 0.5  # of the data


class Exact(ModelWrapper):
    """The velocity of N(0, STD^2) along the path of a schedule."""

    def __init__(self, schedule):
        super().__init__(torch.nn.Identity())
        self.schedule = schedule

    def forward(self, x, t):
        at = self.schedule(t)
        slope = at.alpha_t * at.d_alpha_t * STD**2 + at.sigma_t * at.d_sigma_t
        return x * slope / (at.alpha_t**2 * STD**2 + at.sigma_t**2)


def spread(model, method):
    noise = torch.randn(5000, 1, generator=torch.Generator().manual_seed(0))
    return ODESolver(model).sample(x_init=noise, step_size=0.05, method=method).std().item()


straight, cosine = CondOTScheduler(), CosineScheduler()
as_described = True
for name, old, new, fails in (
    ("CondOT, unchanged", straight, None, ()),
    ("CondOT to cosine", straight, cosine, ("heun2", "rk4")),
    ("cosine to CondOT", cosine, straight, ("heun2", "rk4")),
    ("VP to CondOT", VPScheduler(), straight, ("euler", "midpoint", "heun2", "rk4")),
    ("square to CondOT", PolynomialConvexScheduler(2), straight, ("euler", "midpoint", "heun2", "rk4")),
):
    model = Exact(old) if new is None else ScheduleTransformedModel(Exact(old), old, new)
    stds = {method: spread(model, method) for method in ("euler", "midpoint", "heun2", "rk4")}
    print(f"{name}: " + ", ".join(f"{method} {std:.3g}" for method, std in stds.items()))
    for method, std in stds.items():
        as_described &= (abs(std - STD) < 0.05) != (method in fails)
if not as_described:
    sys.exit("The behaviour has changed: read this script's first lines again.")
PYTHON
