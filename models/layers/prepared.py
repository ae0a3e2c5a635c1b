"""Layers of any network, prepared for inference on CPUs: weights are ordered once, not every call.

Inside `prepared(model)` a layer's weights are cast to the precision that it computes in and brought
into the order that a kernel reads, when it is first called. Small batches, for which calling an
operator costs more than what it computes, go through `models.layers.small_batches`. The function is
the same up to rounding, in the same precision.

A layer is prepared for what it is, whichever network it belongs to. With gradients, on other
devices, for other types, and while operators are counted or traced, layers compute as outside.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn

from models.layers.forms import Form, Memory
from models.layers.kernels import PRECISIONS, available
from models.layers.prepared_norms import Norm
from models.layers.prepared_products import Convolution, Linear, Transposed, Upsampling

KINDS: tuple[type[Form], ...] = (Convolution, Transposed, Upsampling, Linear, Norm)
"""All forms; the first that suits a layer is used."""


class Preparation:
    """The prepared forms of a model's layers, which several uses of it can share.

    Args:
        layers: all modules of the model; those that it gets later are not prepared.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        memory = Memory()
        self._forms: list[Form] = []
        for layer in layers:
            kind = next((kind for kind in KINDS if kind.suits(layer)), None)
            if kind is not None:
                self._forms.append(kind(layer, memory))

    @contextmanager
    def used(self) -> Iterator[None]:
        """Let the layers compute in their prepared forms, which keep what they prepare."""
        placed = [form for form in self._forms if form.method not in vars(form.layer)]
        for form in placed:
            vars(form.layer)[form.method] = form
        try:
            yield
        finally:
            for form in placed:
                del vars(form.layer)[form.method]


@contextmanager
def prepared(model: nn.Module) -> Iterator[None]:
    """Let every layer of the model that can be prepared compute in its prepared form.

    If weights change inside, the next call sees it. What was prepared is dropped at the end.

    Args:
        model: in eval mode.
    """
    with Preparation(model.modules()).used():
        yield


def compile_forms(model: nn.Module, precision: str) -> None:
    """Compile what a model's prepared layers call in "fp32" or "bf16", seconds once per machine.

    Without it that happens at the first calls. Nothing is imported for a model without such layers.
    """
    kinds = [kind for kind in KINDS if kind is not Linear or precision == "bf16"]
    if any(kind.suits(layer) for layer in model.modules() for kind in kinds) and available():
        from models.layers import small_batches

        for kernel in (small_batches.convolution, small_batches.group_norm):
            kernel(PRECISIONS[precision])
