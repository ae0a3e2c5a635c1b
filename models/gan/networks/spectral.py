"""Spectral normalisation: weight matrices divided by their largest singular value."""

from collections.abc import Callable

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


def spectrally_normalised(
    *arguments: object, build: Callable[..., nn.Module], **options: object
) -> nn.Module:
    """Build a network and normalise its weights (Miyato et al. 2018, Sec. 2.1 and Algorithm 1).

    torch's parametrisation: one step of the power iteration at every forward pass in training mode,
    none in eval mode. Convolutions are normalised as matrices of their output channels.

    Args:
        *arguments: arguments of the network.
        build: builds the network.
        **options: further arguments of the network.

    Returns:
        The network; every linear, convolutional and embedding layer of it is normalised.
    """
    network = build(*arguments, **options)
    for module in list(network.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
            spectral_norm(module)
    return network
