#!/usr/bin/env bash
# torchcfm: pairs of optimal transport are drawn with replacement, by NumPy's global generator.
#
# Version:  torchcfm 1.0.7 (numpy 2.4.6, pot 0.9.7.post1, scipy 1.17.1, torch 2.14.1).
# Expected: after torch.manual_seed a step of ExactOptimalTransportConditionalFlowMatcher is the same each
#           time, as one of ConditionalFlowMatcher is. The exact plan between two batches of equal size is
#           a permutation, so that each sample of the data is used once.
# Seen:     the times are the same, the pairs are not: they come from np.random, which torch's seed does
#           not reach. As many pairs as the batch has are drawn from the plan with replacement, so that a
#           step uses about 63 % of its batch of data, some of it several times. OTPlanSampler can draw
#           without replacement, the flow matchers cannot.
# Source:   torchcfm/optimal_transport.py, OTPlanSampler.sample_map; conditional_flow_matching.py calls
#           sample_plan without `replace`.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check \
  numpy==2.4.6 pot==0.9.7.post1 scipy==1.17.1 torch==2.14.1
# its further requirements serve its examples
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check --no-deps torchcfm==1.0.7

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from torchcfm import ConditionalFlowMatcher, ExactOptimalTransportConditionalFlowMatcher

BATCH = 256


def step(kind):
    """Times, and which samples of the data are used, of a step after torch.manual_seed(0)."""
    torch.manual_seed(0)
    noise, data = torch.randn(BATCH, 2), torch.randn(BATCH, 2) + 4
    time, at, velocity = kind(sigma=0.0).sample_location_and_conditional_flow(noise, data)
    ends = at + (1 - time[:, None]) * velocity
    return time, torch.cdist(ends, data).argmin(dim=1)


as_described = True
for kind, same, low, high in (
    (ConditionalFlowMatcher, True, 1.0, 1.0),
    (ExactOptimalTransportConditionalFlowMatcher, False, 0.5, 0.75),
):
    (time, used), (time_again, used_again) = step(kind), step(kind)
    equal = torch.equal(used, used_again)
    share = len(set(used.tolist())) / BATCH
    print(f"{kind.__name__}: equal times {torch.equal(time, time_again)}, equal pairs {equal}, "
          f"{share:.0%} of the data used")
    as_described &= torch.equal(time, time_again) and equal is same and low <= share <= high
if not as_described:
    sys.exit("The behaviour has changed: read this script's first lines again.")
PYTHON
