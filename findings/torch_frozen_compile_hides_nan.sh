#!/usr/bin/env bash
# torch.compile with freezing, on a CPU: a convolution followed by ReLU, ReLU6 or Hardtanh turns NaN into a number.
#
# Version:  torch 2.14.1 (numpy 2.4.6) on an x86 CPU, with a C++ compiler.
# Expected: what the same module returns without torch.compile, and with torch.compile alone: NaN where a NaN went in, so that
#           a network that has diverged is noticed.
# Seen:     with freezing (TORCHINDUCTOR_FREEZING=1), which fuses a convolution with the activation behind it, ReLU and ReLU6
#           return 0 there, and Hardtanh -1. Tanh, LeakyReLU and Hardswish, fused as well, return NaN. A generator that ends in
#           Hardtanh returns images of finite values for an input of NaN.
# Source:   the outputs; the fused operator is mkldnn::_convolution_pointwise, whose activations are those of oneDNN.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check numpy==2.4.6 torch==2.14.1
export TORCHINDUCTOR_CACHE_DIR="$folder/cache"

"$folder/venv/bin/python" -W ignore - 2>"$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
import sys

import torch
import torch._inductor.config as inductor
from torch import nn

HIDES = {"ReLU": 0.0, "ReLU6": 0.0, "Hardtanh": -1.0}
KEEPS = ("Tanh", "LeakyReLU", "Hardswish")


def convolution(activation: str) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), getattr(nn, activation)()).eval()


def compiled(module: nn.Module, x: torch.Tensor, *, freezing: bool) -> torch.Tensor:
    torch._dynamo.reset()
    with inductor.patch(freezing=freezing):
        return torch.compile(module)(x)


x = torch.zeros(1, 3, 8, 8)
x[0, 0, 4, 4] = float("nan")
as_described = True
with torch.no_grad():
    for name in (*HIDES, *KEEPS):
        module = convolution(name)
        eager, plain = module(x), compiled(module, x, freezing=False)
        frozen = compiled(module, x, freezing=True)
        lost = eager.isnan()
        counts = [int(y.isnan().sum()) for y in (eager, plain, frozen)]
        print(f"{name}: {counts[0]} NaN without torch.compile, {counts[1]} with it, {counts[2]} frozen")
        as_described &= counts[0] == counts[1] > 0
        if name in HIDES:
            as_described &= counts[2] == 0 and bool((frozen[lost] == HIDES[name]).all())
        else:
            as_described &= counts[2] == counts[0]
if not as_described:
    sys.exit("The behaviour has changed: read this script's first lines again.")
PYTHON
