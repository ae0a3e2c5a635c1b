"""Layers of any network, prepared for inference on CPUs: weights are ordered once, not every call.

Inside `prepared(model)` a layer's weights are cast to the precision that it computes in and brought
into the order that a kernel reads, when it is first called. Small batches, for which calling an
operator costs more than what it computes, go through `models.layers.small_batches`. The function is
the same up to rounding, in the same precision.

A layer is prepared for what it is, whichever network it belongs to. With gradients, on other
devices, for other types, and while operators are counted or traced, layers compute as outside.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from models.layers.forms import Form, Memory
from models.layers.kernels import PRECISIONS, available
from models.layers.prepared_norms import Norm
from models.layers.prepared_products import Convolution, Linear, Transposed, Upsampling

KINDS: tuple[type[Form], ...] = (Convolution, Transposed, Upsampling, Linear, Norm)
"""All forms; the first that suits a layer is used."""


@contextmanager
def prepared(model: nn.Module) -> Iterator[None]:
    """Let every layer of the model that can be prepared compute in its prepared form.

    If weights change inside, the next call sees it. What was prepared is dropped at the end.

    Args:
        model: in eval mode.
    """
    memory, forms = Memory(), []
    for layer in model.modules():
        kind = next((kind for kind in KINDS if kind.suits(layer)), None)
        if kind is not None and kind.method not in vars(layer):
            vars(layer)[kind.method] = kind(layer, memory)
            forms.append((layer, kind.method))
    try:
        yield
    finally:
        for layer, method in forms:
            del vars(layer)[method]


def compile_forms(precision: str) -> None:
    """Compile what prepared layers call in "fp32" or "bf16", seconds once per machine.

    Without it that happens at the first calls.
    """
    if available():
        from models.layers import small_batches

        for kernel in (small_batches.convolution, small_batches.group_norm):
            kernel(PRECISIONS[precision])
