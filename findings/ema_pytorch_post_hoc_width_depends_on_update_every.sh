#!/usr/bin/env bash
# ema-pytorch: the width of its post-hoc averages depends on how often they are updated.
#
# Version:  ema-pytorch 0.8.3 (numpy 2.4.6, torch 2.14.1).
# Expected: `sigma_rel` is the width of the average over training as a share of the time trained (Karras
#           et al. 2024, arXiv:2312.02696, section 3.1): 0.05 averages over the last steps, whose mean is
#           at 95 % of training. `update_every`, by default 100 and 10 in the README's example, saves
#           work and makes the average coarser, not longer.
# Seen:     the factor of one step, (1 - 1/t)^(gamma + 1), is applied once in `update_every` steps. By
#           default 0.05 gives an average whose mean is at 15 % of training, most of it weights from the
#           beginning, and whose width is 0.24. PostHocEMA combines such averages as if they had the
#           widths that were asked for. With update_every=1 all widths are right.
# Source:   ema_pytorch/post_hoc_ema.py, KarrasEMA.beta and KarrasEMA.update; a model whose weights are
#           the time and its square, so that its average is the profile's mean and second moment.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check \
  ema-pytorch==0.8.3 numpy==2.4.6 torch==2.14.1

"$folder/venv/bin/python" - <<'PYTHON'
import math
import sys

import torch
from ema_pytorch import KarrasEMA

STEPS = 20_000


def profile(sigma_rel, **options):
    """Mean time and its standard deviation in the average, as shares of the training; gamma."""
    model = torch.nn.Linear(1, 1).double()
    average = KarrasEMA(model, sigma_rel=sigma_rel, **options)
    with torch.no_grad():
        for step in range(STEPS + 1):
            model.weight.fill_(step / STEPS)
            model.bias.fill_((step / STEPS) ** 2)
            average.update()
    mean, square = (p.item() for p in average.ema_model.parameters())
    return mean, math.sqrt(square - mean**2), average.gamma


as_described = True
for sigma_rel in (0.05, 0.1):
    for options in ({"update_every": 1}, {"update_every": 10}, {}):
        mean, width, gamma = profile(sigma_rel, **options)
        wanted = (gamma + 1) / (gamma + 2)
        named = options.get("update_every", "100, by default")
        print(
            f"sigma_rel={sigma_rel}, update_every={named}: mean at {mean:.0%} of training instead of "
            f"{wanted:.0%}, width {width:.3f}"
        )
        right = abs(mean - wanted) < 0.002 and abs(width - sigma_rel) < 0.002
        as_described &= right if options.get("update_every") == 1 else mean < 0.7 * wanted
if not as_described:
    sys.exit("The behaviour has changed: read this script's first lines again.")
PYTHON
