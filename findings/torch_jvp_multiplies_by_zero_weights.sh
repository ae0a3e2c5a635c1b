#!/usr/bin/env bash
# torch: forward-mode derivatives of layers multiply by weight tangents that are zero.
#
# Version:  torch 2.14.1 on a CPU (numpy 2.4.6).
# Expected: the derivative of a convolution or linear map along a direction of its input alone takes two
#           products: the layer's own, and the same weights on the direction. MeanFlow, for example,
#           differentiates by input and times only.
# Seen:     three. torch.func.jvp makes a tangent of zeros for the weights, which have none, and computes
#           a third product with it, also under no_grad and with detached weights. FlopCounterMode counts
#           it, and it takes its time. Linear maps and transposed convolutions do the same.
# Source:   torch's FlopCounterMode, and the operators that a TorchDispatchMode sees.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check numpy==2.4.6 torch==2.14.1

"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
from torch import nn
from torch.func import functional_call, jvp
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

LAYERS = {
    "Conv2d": (nn.Conv2d(8, 8, 3, padding=1), (2, 8, 16, 16)),
    "ConvTranspose2d": (nn.ConvTranspose2d(8, 8, 4, 2, 1), (2, 8, 16, 16)),
    "Linear": (nn.Linear(64, 64), (16, 64)),
}


class ZeroWeights(TorchDispatchMode):
    """Counts products, and those whose second factor is zero everywhere."""

    def __init__(self):
        super().__init__()
        self.products = self.of_zeros = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in ("convolution", "addmm", "mm"):
            factor = args[2] if func.overloadpacket.__name__ == "addmm" else args[1]
            self.products += 1
            self.of_zeros += int(not factor.any())
        return func(*args, **(kwargs or {}))


def flops(function):
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


as_described = True
for name, (layer, shape) in LAYERS.items():
    x, direction = torch.randn(shape), torch.randn(shape)
    weights = {key: value.detach() for key, value in layer.named_parameters()}

    def frozen(x):
        return functional_call(layer, weights, (x,))

    one = flops(lambda: layer(x))
    with torch.no_grad():
        ratio = flops(lambda: jvp(frozen, (x,), (direction,))) / one
    with ZeroWeights() as seen:
        jvp(frozen, (x,), (direction,))
    print(f"{name}: {ratio:g} times the FLOPs of a call; "
          f"{seen.products} products, {seen.of_zeros} of them with zeros alone")
    as_described &= ratio == 3 and seen.of_zeros == 1
if not as_described:
    sys.exit("The behaviour has changed: read this script's first lines again.")
PYTHON
