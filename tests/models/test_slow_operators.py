"""What test_contract.py looks for in models is noticed where it is called."""

import torch
import torch.nn.functional as F
from slow_operators import DirectConvolutions, SlowOperators

from bench.runtime import winograd


def test_an_operator_that_is_slow_is_noticed():
    x = torch.zeros(2, 8, 4, 4)
    layers = {
        "group_norm": torch.nn.GroupNorm(2, 8),
        "batch_norm": torch.nn.BatchNorm2d(8),
        "conv_transpose2d": torch.nn.ConvTranspose2d(8, 8, 4),
    }
    for name, layer in layers.items():
        with SlowOperators() as slow:
            layer(x)
        assert slow.called == {name}


class OptsOut(torch.nn.Conv2d):
    """A convolution that does not let the evaluation choose its kernel."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return F.conv2d(input, self.weight, self.bias, padding=1)


def test_a_network_with_convolutions_of_its_own_is_found():
    x = torch.zeros(1, 96, 32, 32)
    for layer, missed in ((torch.nn.Conv2d, 0), (OptsOut, 1)):
        network = layer(96, 96, 3, padding=1)
        with winograd.winograd(network), torch.no_grad(), DirectConvolutions() as direct:
            network(x)
        assert len(direct.weights) == missed
