#!/usr/bin/env bash
# torch: FlopCounterMode does not count networks that hand a parameter to one of their modules, without gradients.
#
# Version:  torch 2.14.1 on a CPU (numpy 2.4.6).
# Expected: counting needs no gradients. Under no_grad or inference_mode, where samples are made, the count
#           is that of a call with gradients, whatever a module's inputs are: learned queries, constant inputs
#           and tied weights are parameters that a network passes on to its modules.
# Seen:     under inference_mode the call raises AttributeError if a module's input is a parameter or a view
#           of one. Under no_grad a parameter is counted, but its view raises AssertionError: the view says that
#           it requires a gradient, although it has no gradient function. A product is counted everywhere.
# Source:   torch's FlopCounterMode, and requires_grad of what modules get.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check numpy==2.4.6 torch==2.14.1

"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

HANDED_ON = {
    "the parameter": lambda weight: weight,
    "a view of it": lambda weight: weight.view(4, 4),
    "a product": lambda weight: weight * 1,
}
MODES = {
    "with gradients": torch.enable_grad,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
}
AS_DESCRIBED = {
    ("the parameter", "inference_mode"): "AttributeError",
    ("a view of it", "no_grad"): "AssertionError",
    ("a view of it", "inference_mode"): "AttributeError",
}


class Network(nn.Module):
    def __init__(self, handed_on):
        super().__init__()
        self.weight, self.module = nn.Parameter(torch.ones(4, 4)), nn.Identity()
        self.handed_on = handed_on

    def forward(self, x):
        return x @ self.module(self.handed_on(self.weight))


as_described = True
for what, handed_on in HANDED_ON.items():
    for mode, context in MODES.items():
        network = Network(handed_on)
        with context():
            needs = handed_on(network.weight).requires_grad
            uncounted = network(torch.ones(2, 4)).shape
            try:
                with FlopCounterMode(display=False) as counter:
                    network(torch.ones(2, 4))
                seen = f"{counter.get_total_flops()} FLOPs"
            except (AttributeError, AssertionError) as error:
                seen = type(error).__name__
        print(f"{what}, {mode}: {seen} (requires_grad {needs}; without the counter {tuple(uncounted)})")
        as_described &= seen == AS_DESCRIBED.get((what, mode), "64 FLOPs")
if not as_described:
    sys.exit("The behaviour has changed: read this script's first lines again.")
PYTHON
