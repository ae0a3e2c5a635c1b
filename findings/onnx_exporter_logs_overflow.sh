#!/usr/bin/env bash
# torch.onnx.export: log-domain functions become the formulas that they exist to avoid.
#
# Version:  torch 2.13.0, onnxscript 0.7.2, onnx 1.23.2, onnxruntime 1.32.0 (numpy 2.4.6).
# Expected: an exported model returns what the module returns, to the accuracy of float32. logsigmoid, logaddexp and
#           log1p are used in log-likelihoods (discretised logistics, mixtures) and in scores of discriminators because
#           they stay finite and exact where log(sigmoid(x)), log(exp(a) + exp(b)) and log(1 + x) do not.
# Seen:     the exporter writes just these formulas. logsigmoid(-110) is -inf instead of -110, logaddexp(100, 99) is inf
#           instead of 100.31, log1p(1e-8) is 0 instead of 1e-8. binary_cross_entropy_with_logits of a logit of -110
#           and a target of 1 is inf instead of 110, although softplus(110), which is the same number, is exported exactly.
#           Ordinary inputs agree, so that an exported model that was compared on these looks right.
# Source:   onnxscript/function_libs/torch_lib/ops: core.py (aten_logaddexp, aten_log1p), nn.py (aten_log_sigmoid).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check \
  torch==2.13.0 onnxscript==0.7.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6

cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import contextlib
import io
import math
import sys
import warnings

import onnxruntime
import torch
from torch.nn import functional as F

warnings.simplefilter("ignore")


def both(function, value):
    """The function of one number, by torch and by its exported model."""

    class Module(torch.nn.Module):
        def forward(self, x):
            return function(x)

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        program = torch.onnx.export(Module().eval(), (torch.zeros(1),), dynamo=True, verbose=False)
    program.save("model.onnx")
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    x = torch.tensor([value])
    return function(x).item(), session.run(None, {session.get_inputs()[0].name: x.numpy()})[0].item()


def bce(x):
    return F.binary_cross_entropy_with_logits(x, torch.ones(1), reduction="none")


CASES = (  # name, function, input, by torch, by the exported model
    ("logsigmoid", F.logsigmoid, -2.0, -2.126928, -2.126928),
    ("logsigmoid", F.logsigmoid, -110.0, -110.0, -math.inf),
    ("logaddexp(x, x - 1)", lambda x: torch.logaddexp(x, x - 1), 2.0, 2.313262, 2.313262),
    ("logaddexp(x, x - 1)", lambda x: torch.logaddexp(x, x - 1), 100.0, 100.313262, math.inf),
    ("log1p", torch.log1p, 0.5, 0.405465, 0.405465),
    ("log1p", torch.log1p, 1e-8, 1e-8, 0.0),
    ("binary_cross_entropy_with_logits", bce, -110.0, 110.0, math.inf),
    ("softplus(-x)", lambda x: F.softplus(-x), -110.0, 110.0, 110.0),
)
as_described = True
for name, function, value, torch_value, exported_value in CASES:
    by_torch, exported = both(function, value)
    print(f"{name} at {value:g}: torch {by_torch:.7g}, exported {exported:.7g}")
    as_described &= math.isclose(by_torch, torch_value, rel_tol=1e-5) and (
        exported == exported_value or math.isclose(exported, exported_value, rel_tol=1e-5)
    )
if not as_described:
    sys.exit("The behaviour has changed: read this script's first lines again.")
PYTHON
