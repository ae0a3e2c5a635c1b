"""He initialisation keeps different latents apart; the default of torch does not."""

import torch

from models.gan.networks.mlp import Generator, initialise


def test_untrained_samples_differ_from_each_other() -> None:
    torch.manual_seed(0)
    generator = Generator(100, (1, 8, 8))
    z = torch.randn(256, 100)
    spread = generator(z).std(0).mean().item()
    for layer in generator.layers:
        if isinstance(layer, torch.nn.Linear):
            layer.reset_parameters()
    assert spread > 0.4
    assert spread > 10 * generator(z).std(0).mean().item()


def test_the_variance_of_a_layer_is_two_over_fan_in() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(512, 1024)
    initialise(layer)
    torch.testing.assert_close(layer.weight.var().item(), 2 / 512, rtol=0.01, atol=0)
    assert layer.bias.abs().max() == 0
