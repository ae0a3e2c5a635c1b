"""Convolutions of frozen networks together with their batch norm and activation, in one pass."""

from functools import cache
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

Activation = Literal["none", "relu", "relu6"]

_ONEDNN: dict[Activation, tuple[str, list[float]]] = {
    "none": ("none", []),
    "relu": ("relu", []),
    "relu6": ("hardtanh", [0.0, 6.0]),
}
"""Names and parameters of the activations in oneDNN's operator."""


class FusedConvolution(nn.Module):
    """A frozen convolution followed by an activation; equal to both up to rounding.

    On CPUs in float32 it is one call of oneDNN's operator for torch's compiler, with the weights
    reordered once: neither padding nor activation takes a pass over memory of its own. Elsewhere,
    and where torch lacks that operator, it is a convolution and an activation in place.

    Args:
        convolution: in eval mode, with zero padding, without gradients.
        activation: what follows it.
        padding: zeros (left, right, top, bottom) that a layer before it adds, the same for both
            axes, such as TensorFlow's "SAME"; there may be more of them at the end than at the
            start.

    Raises:
        ValueError: a padding that this layer cannot express.
    """

    def __init__(
        self,
        convolution: nn.Conv2d,
        activation: Activation,
        padding: tuple[int, ...] = (0, 0, 0, 0),
    ) -> None:
        super().__init__()
        start, end = padding[:2]
        own = convolution.padding
        zeros = convolution.padding_mode == "zeros" and padding[2:] == (start, end)
        if isinstance(own, str) or not zeros:
            raise ValueError(f"a fused convolution takes zero padding, got {own} and {padding}")
        weight = convolution.weight.detach()
        if end > start:  # operators pad alike on both sides: taps that are zero shift the kernel
            weight = F.pad(weight, (end - start, 0, end - start, 0))
        elif end < start:
            raise ValueError(f"a fused convolution pads the end at least as the start, {padding}")
        self.activation: Activation = activation
        self.stride = list(convolution.stride)
        self.padding = [side + end for side in own]
        self.dilation = list(convolution.dilation)
        self.groups = convolution.groups
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        bias = convolution.bias
        self.register_buffer("bias", None if bias is None else bias.detach())
        self._packed: Tensor | None = None  # the weight in oneDNN's own order

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H', W')."""
        weight, bias = self.get_buffer("weight"), self._buffers["bias"]
        if x.device.type != "cpu" or x.dtype != torch.float32 or not _has_operator():
            y = F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)
            return _activate(y, self.activation)
        if self._packed is None:
            self._packed = self._reordered(weight, x)
        return _convolved(x, self._packed, bias, self)

    def _reordered(self, weight: Tensor, x: Tensor) -> Tensor:
        reorder = torch._C._nn.mkldnn_reorder_conv2d_weight  # pyright: ignore[reportAttributeAccessIssue]
        shape = self.padding, self.stride, self.dilation, self.groups
        return reorder(weight.to_mkldnn(), *shape, x.shape)


def _convolved(x: Tensor, weight: Tensor, bias: Tensor | None, layer: FusedConvolution) -> Tensor:
    shape = layer.padding, layer.stride, layer.dilation, layer.groups
    activation = _ONEDNN[layer.activation]
    return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *shape, *activation, "")


def _activate(y: Tensor, activation: Activation) -> Tensor:
    if activation == "none":
        return y
    return y.relu_() if activation == "relu" else y.clamp_(0, 6)


@cache
def _has_operator() -> bool:
    """Whether this torch has oneDNN's fused convolution, and it computes what it should.

    The operator is not part of torch's documented interface, so it is tried once per process.
    """
    layer = nn.Conv2d(2, 3, 3, bias=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weight, x = torch.randn(3, 2, 3, 3), 4 * torch.randn(1, 2, 5, 5)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    fused = FusedConvolution(layer, "relu6")
    try:
        packed = fused._reordered(weight, x)
        y = _convolved(x, packed, None, fused)
    except (AttributeError, RuntimeError, TypeError):  # NotImplementedError is a RuntimeError
        return False
    return torch.allclose(y, F.conv2d(x, weight).clamp(0, 6), atol=1e-4)


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Fold every batch norm into the preceding convolution, in place.

    Both must be registered consecutively in one module and run in that order, as in
    torch-fidelity's networks and EfficientNet.

    Args:
        network: in eval mode.

    Returns:
        The network, equivalent up to rounding.
    """
    for module in list(network.modules()):
        children = list(module.named_children())
        for (name, convolution), (norm_name, norm) in pairwise(children):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(convolution, norm))
                setattr(module, norm_name, nn.Identity())
    return network


def fuse_sequences(network: nn.Module) -> None:
    """Fuse, in place, the convolutions of every `nn.Sequential` with the ReLUs that follow them.

    Call it after `fold_batch_norms`, which leaves identities between the two.
    """
    for module in list(network.modules()):
        if not isinstance(module, nn.Sequential):
            continue
        layers = [(n, m) for n, m in module.named_children() if not isinstance(m, nn.Identity)]
        for (name, convolution), (relu_name, relu) in pairwise(layers):
            kind = activation_of(relu)
            if isinstance(convolution, nn.Conv2d) and kind is not None:
                setattr(module, name, FusedConvolution(convolution, kind))
                setattr(module, relu_name, nn.Identity())


def activation_of(module: nn.Module) -> Activation | None:
    """The activation that a module is, if it can be fused."""
    if isinstance(module, nn.ReLU6):
        return "relu6"
    return "relu" if isinstance(module, nn.ReLU) else None
