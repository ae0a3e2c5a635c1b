import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.gan.networks.resnet import ClassBatchNorm, Discriminator, DiscriminatorBlock, Generator
from models.gan.networks.spectral import spectrally_normalised

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 9, 15), (2, 8, 33)]


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def conv(before: int, after: int, size: int = 3) -> int:
    return before * after * size**2 + after


def generator_block(before: int, after: int) -> int:
    norms = 2 * before + 2 * after
    return norms + conv(before, after) + conv(after, after) + conv(before, after, 1)


def discriminator_block(before: int, after: int, *, shortcut: bool = True) -> int:
    return conv(before, after) + conv(after, after) + (conv(before, after, 1) if shortcut else 0)


@pytest.mark.parametrize("doubling", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_both_networks_fit_any_image_size(shape, doubling):
    x = Generator(6, shape, width=4, doubling=doubling)(torch.randn(2, 6))
    assert x.shape == (2, *shape)
    assert x.abs().max() <= 1
    assert Discriminator(shape, width=4, doubling=doubling)(x).shape == (2,)


def test_at_32x32_they_are_the_networks_of_table_4():
    """Known too from other code bases: 4,276,739 and 1,053,825 parameters."""
    dense = 128 * 4 * 4 * 256 + 4 * 4 * 256
    generator = dense + 3 * generator_block(256, 256) + 2 * 256 + conv(256, 3)
    assert count(Generator(128, (3, 32, 32))) == generator == 4_276_739
    blocks = discriminator_block(3, 128) + discriminator_block(128, 128)
    flat = 2 * discriminator_block(128, 128, shortcut=False)
    assert count(Discriminator((3, 32, 32))) == blocks + flat + 128 + 1 == 1_053_825


def test_at_64x64_channels_double_up_to_1024():
    with torch.device("meta"):
        generator = Generator(128, (3, 64, 64), 64, doubling=True)
        discriminator = Discriminator((3, 64, 64), 64, doubling=True)
    widths = [64, 128, 256, 512, 1024]
    dense = 128 * 4 * 4 * 1024 + 4 * 4 * 1024
    up = sum(generator_block(2 * width, width) for width in widths[:-1])
    assert count(generator) == dense + up + 2 * 64 + conv(64, 3)
    down = sum(map(discriminator_block, [3, *widths], widths))
    assert count(discriminator) == down + 1024 + 1


def test_the_discriminator_sums_over_pixels():
    """Logits are linear in the sum over pixels of the last rectified features."""
    torch.manual_seed(0)
    discriminator = Discriminator((2, 8, 8), width=5)
    x = torch.randn(3, 2, 8, 8)
    h = F.relu(discriminator.blocks(x)).flatten(2)  # (3, 5, 64)
    weight, bias = discriminator.output.weight[0], discriminator.output.bias
    expected = torch.einsum("bcp,c->b", h, weight) + bias
    torch.testing.assert_close(discriminator(x), expected)


def test_a_shrinking_block_equals_the_papers_order_of_operations():
    """There pooling follows the 1x1 convolution of the shortcut, except in the first block."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8)
    block = DiscriminatorBlock(3, 4, down=True, first=False)
    h = block.conv2(F.relu(block.conv1(F.relu(x)))) + block.shortcut(x)
    torch.testing.assert_close(block(x), F.avg_pool2d(h, 2))


def test_the_projection_is_the_inner_product_of_features_and_class():
    torch.manual_seed(0)
    discriminator = Discriminator((1, 8, 8), width=4, num_classes=3)
    x, y = torch.randn(3, 1, 8, 8), torch.tensor([0, 2, 1])
    seen = []
    discriminator.output.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0]))
    logits = discriminator(x, y)
    discriminator.classes.weight.data.zero_()
    alone = discriminator(x, y)
    assert not torch.equal(logits, alone)
    torch.manual_seed(0)
    classes = Discriminator((1, 8, 8), width=4, num_classes=3).classes.weight
    expected = torch.stack([features @ classes[k] for features, k in zip(seen[0], y, strict=True)])
    torch.testing.assert_close(logits - alone, expected)


def batch_norm_per_class(x: Tensor, y: Tensor, norm: ClassBatchNorm) -> Tensor:
    """An independent one: statistics over the batch, then each sample's own scale and shift."""
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = x.var((0, 2, 3), correction=0, keepdim=True)
    h = (x - mean) / (variance + norm.norm.eps).sqrt()
    return torch.stack(
        [
            h[b] * norm.scales.weight[k][:, None, None] + norm.shifts.weight[k][:, None, None]
            for b, k in enumerate(y.tolist())
        ]
    )


def test_conditional_batch_norm_shares_statistics_and_has_one_scale_and_shift_per_class():
    torch.manual_seed(0)
    norm = ClassBatchNorm(4, 3)
    x, y = torch.randn(6, 4, 5, 5) * 3 + 1, torch.tensor([0, 1, 2, 2, 1, 0])
    torch.testing.assert_close(norm(x, y), batch_norm_per_class(x, y, norm).relu())


def test_at_first_all_classes_look_alike_to_the_generator():
    torch.manual_seed(0)
    generator = Generator(6, (1, 8, 8), width=4, num_classes=3)
    z = torch.randn(1, 6).expand(3, 6)
    x = generator(z, torch.arange(3))
    torch.testing.assert_close(x[1], x[0])
    generator.blocks[0].norm1.scales.weight.data[1] += 1
    x = generator(z, torch.arange(3))
    assert not torch.allclose(x[1], x[0])
    torch.testing.assert_close(x[2], x[0])


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_a_conditional_network_without_classes_given_says_so(network):
    if network == "generator":
        call = Generator(6, (1, 8, 8), width=4, num_classes=3)
        inputs = torch.randn(2, 6)
    else:
        call, inputs = Discriminator((1, 8, 8), width=4, num_classes=3), torch.randn(2, 1, 8, 8)
    with pytest.raises(ValueError, match=r"y must be classes .* got None"):
        call(inputs)


def test_spectral_normalisation_reaches_every_layer_of_the_discriminator():
    discriminator = spectrally_normalised((1, 8, 8), build=Discriminator, width=4, num_classes=3)
    kinds = nn.Conv2d, nn.Linear, nn.Embedding
    layers = [m for m in discriminator.modules() if isinstance(m, kinds)]
    assert {kind for kind in kinds for m in layers if isinstance(m, kind)} == set(kinds)
    for _ in range(50):
        discriminator(torch.randn(2, 1, 8, 8), torch.zeros(2, dtype=torch.long))
    discriminator.eval()
    for layer in layers:
        largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item()
        assert largest == pytest.approx(1, abs=0.02), layer


def test_shapes_that_are_no_images_are_refused():
    for network in (lambda: Generator(6, (2,)), lambda: Discriminator((2,))):
        with pytest.raises(ValueError, match=r"data_shape .*got \(2,\)"):
            network()
