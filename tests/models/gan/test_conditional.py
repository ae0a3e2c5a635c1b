from functools import partial

import pytest
import torch
from torch import Tensor, nn

from models.base import Batch, DataSpec
from models.gan.conditional import ConditionalGAN
from models.gan.networks.resnet import Discriminator, Generator
from models.gan.objectives import hinge, non_saturating
from models.gan.regularisers import R1

SHAPE = (1, 8, 8)


def data(num_classes: int, shape: tuple[int, ...] = SHAPE) -> DataSpec:
    return DataSpec(shape, num_classes, lambda index: torch.zeros(len(index), *shape), 10)


@pytest.fixture
def gan() -> ConditionalGAN:
    torch.manual_seed(0)
    networks = partial(Generator, width=4), partial(Discriminator, width=4)
    return ConditionalGAN(data(3), *networks, hinge(), latent_dim=6)


class Table(nn.Module):
    """Images that are the class's own value everywhere; z is ignored."""

    def __init__(self, latent_dim: int, shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.shape = shape
        self.values = nn.Parameter(torch.zeros(num_classes))

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return self.values[y].reshape(-1, *(1,) * len(self.shape)).expand(-1, *self.shape)


class Quadratic(nn.Module):
    """a_k m + b_k m² of an image's mean m and its class k."""

    def __init__(self, shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(num_classes, 2))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        mean = x.flatten(1).mean(1)
        return (self.weights[y] * torch.stack([mean, mean**2], 1)).sum(1)


def test_data_without_classes_is_refused():
    with pytest.raises(ValueError, match="a conditional GAN needs class labels"):
        ConditionalGAN(data(0), Generator, Discriminator, hinge())


def test_the_networks_are_told_the_number_of_classes(gan):
    assert gan.discriminator.classes.num_embeddings == 3
    assert gan.generator.blocks[0].norm1.scales.num_embeddings == 3


def test_fakes_are_made_and_judged_as_the_classes_of_the_batch(gan):
    seen: list[tuple[str, Tensor]] = []
    gan.generator.register_forward_hook(lambda _, inputs, out: seen.append(("fake", inputs[1])))
    gan.discriminator.register_forward_hook(
        lambda _, inputs, out: seen.append(("judge", inputs[1]))
    )
    batch = Batch(torch.rand(4, *SHAPE), torch.tensor([2, 0, 1, 1]))
    gan.discriminator_loss(batch)
    gan.generator_loss(batch)
    assert [name for name, _ in seen] == ["fake", "judge", "judge", "fake", "judge"]
    assert all(torch.equal(y, batch.y) for _, y in seen)


def test_penalties_see_the_classes():
    """The gradient of a m is a / (number of pixels) at each: |∇|² = a² / pixels."""
    gan = ConditionalGAN(
        data(2), Table, Quadratic, non_saturating(), latent_dim=1, regularisers=(R1(2.0),)
    )
    gan.discriminator.weights.data = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    values = gan.discriminator_loss(Batch(torch.rand(2, *SHAPE), torch.tensor([0, 1])))
    assert values["r1"].item() == pytest.approx((1 + 9) / 2 / 64)


def test_classes_that_are_not_given_are_uniform_and_come_from_the_generator():
    gan = ConditionalGAN(data(4), Table, Quadratic, hinge(), latent_dim=1)
    gan.generator.values.data = torch.tensor([-0.75, -0.25, 0.25, 0.75])
    x, again = (gan.generate(4000, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(x, again)
    counts = x[:, 0, 0, 0].unique(return_counts=True)[1]
    assert len(counts) == 4
    assert ((counts - 1000).abs() < 4 * 1000**0.5).all()


def test_classes_that_are_given_are_drawn(gan):
    y = torch.tensor([1, 0, 1])
    gan.generator.blocks[0].norm1.shifts.weight.data.normal_()
    gan.eval()
    with torch.inference_mode():
        x = gan.generate(3, torch.Generator().manual_seed(0), y)
        z = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(x, gan.generator(z, y))
        assert not torch.equal(x, gan.generate(3, torch.Generator().manual_seed(0), 1 - y))


def test_it_learns_which_class_looks_how():
    """Two classes of constant images, -1/2 and 1/2: the table ends up at those values."""
    torch.manual_seed(0)
    gan = ConditionalGAN(
        data(2), Table, Quadratic, non_saturating(), latent_dim=1, regularisers=(R1(64.0),)
    )
    y = torch.tensor([0, 1]).repeat(8)
    batch = Batch((y.float() - 0.5).reshape(-1, 1, 1, 1).expand(-1, *SHAPE).contiguous(), y)
    optimizers = [torch.optim.SGD(phase.module.parameters(), 0.3) for phase in gan.phases]
    for _ in range(200):
        for phase, optimizer in zip(gan.phases, optimizers, strict=True):
            loss = phase.loss(batch)["loss"]
            gan.zero_grad()
            loss.backward()
            optimizer.step()
    torch.testing.assert_close(
        gan.generator.values.detach(), torch.tensor([-0.5, 0.5]), atol=0.05, rtol=0
    )
