"""Network calls of a sampler: their number, their cost, and running them alone."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class NetworkCall:
    """A network, and the arguments of its first call when one sample is generated.

    Attributes:
        network: the network.
        times: number of calls per sample.
        args: positional arguments for one sample.
        kwargs: named arguments for one sample.
    """

    network: nn.Module
    times: int
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def run(self, batch_size: int) -> None:
        """Call the network once, with every batched argument repeated batch_size times."""

        def expand(value: object) -> object:
            if isinstance(value, Tensor) and value.ndim > 0:
                return value.repeat_interleave(batch_size, dim=0)  # (rows * batch_size, …)
            return value

        self.network(*map(expand, self.args), **{k: expand(v) for k, v in self.kwargs.items()})

    def gflops_of_one_more(self) -> float:
        """10^9 FLOPs of one additional sample in the batch, in one call.

        The difference between two batch sizes, which excludes work done once per call.
        """
        counts = []
        for batch_size in (1, 2):
            with flop_counter() as counter:
                self.run(batch_size)
            counts.append(counter.get_total_flops())
        return (counts[1] - counts[0]) / 1e9


def capture_calls(
    declared: Mapping[nn.Module, int], generate: Callable[[], Tensor]
) -> list[NetworkCall]:
    """Generate one sample, verify the numbers of network calls and keep the first arguments.

    Args:
        declared: number of calls of each network per sample.
        generate: generates one sample.

    Raises:
        ValueError: a network is not called as often as declared, or not at all.
    """
    counted = dict.fromkeys(declared, 0)
    first: dict[nn.Module, NetworkCall] = {}

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        counted[module] += 1
        if module not in first:  # samplers may overwrite their state in place
            copied = {name: _snapshot(value) for name, value in kwargs.items()}
            first[module] = NetworkCall(
                module, declared[module], tuple(map(_snapshot, args)), copied
            )

    handles = [network.register_forward_pre_hook(hook, with_kwargs=True) for network in declared]
    try:
        generate()
    finally:
        for handle in handles:
            handle.remove()
    for network, times in declared.items():
        if counted[network] != times or not times:
            raise ValueError(
                f"the sampler declares {times} calls of its {type(network).__name__}, but called "
                f"it {counted[network]} times"
            )
    return list(first.values())


def _snapshot(value: object) -> object:
    return value.clone() if isinstance(value, Tensor) else value


@contextmanager
def flop_counter() -> Iterator["FlopCounterMode"]:
    """Count FLOPs, with attention as plain matrix products and every convolution as a direct one.

    Products of a matrix and a vector, as in the power iteration of spectral normalisation, inner
    products and distances, which torch's counter leaves out, are counted as matrix products are.

    The counter does not know the fused attention kernel of CPUs and would count it as zero, and
    fused backward passes recompute, so the count would depend on the device.
    """
    # Imported here: it imports triton, and training starts before anything is counted.
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    aten = torch.ops.aten
    own = {
        aten.convolution_backward: _convolution_backward_flops,
        aten.mv: lambda matrix, vector, **_: 2 * math.prod(matrix),
        aten.addmv: lambda start, matrix, vector, **_: 2 * math.prod(matrix),
        **dict.fromkeys((aten.dot, aten.vdot), lambda a, b, **_: 2 * math.prod(a)),
        **dict.fromkeys((aten._cdist_forward, aten._euclidean_dist), _distance_flops),
        aten._cdist_backward: lambda grad, a, b, *_, **more: _distance_flops(a, b),
        torch.ops.bench.winograd: _winograd_flops,
    }
    with (
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False, custom_mapping=own) as counter,
    ):
        yield counter


def _convolution_backward_flops(
    grad: list[int],
    x: list[int],
    weight: list[int],
    _bias: object,
    _stride: object,
    _padding: object,
    _dilation: object,
    transposed: bool,
    _output_padding: object,
    _groups: object,
    output_mask: list[bool],
    **_: object,
) -> int:
    """FLOPs of a convolution's backward pass: those of the forward pass per requested gradient.

    torch's own formula counts a grouped convolution's weight gradient as if it had one
    group.
    """
    from torch.utils.flop_counter import conv_flop_count

    return sum(output_mask[:2]) * conv_flop_count(x, weight, grad, transposed=transposed)


def _distance_flops(a: list[int], b: list[int], *_: object, **more: object) -> int:
    """FLOPs of all distances between the rows of (…, P, D) and (…, R, D): as of inner products."""
    return 2 * math.prod(a) * b[-2]


def _winograd_flops(x: list[int], weight: list[int], _bias: object, *, out_shape: list[int]) -> int:
    """A convolution's FLOPs, however few products `bench.runtime.winograd` computes it with."""
    from torch.utils.flop_counter import conv_flop_count

    return conv_flop_count(x, weight, out_shape)
