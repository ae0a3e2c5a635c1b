import pytest
import torch
from torch import Tensor, nn

from models.base import Batch, DataSpec
from models.gan.networks.mlp import Generator
from models.gan.semi_supervised import SemiSupervisedGAN

CENTRES = torch.tensor([[-0.6, 0.0], [0.3, 0.5], [0.3, -0.5]])


class Discriminator(nn.Module):
    """A small network on points, with features and K logits."""

    def __init__(self, data_shape: tuple[int, ...], *, outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(data_shape[0], 16), nn.LeakyReLU(0.2))
        self.output = nn.Linear(16, outputs)

    def features(self, x: Tensor) -> Tensor:
        return self.hidden(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.features(x))


def generator(latent_dim: int, data_shape: tuple[int, ...]) -> Generator:
    return Generator(latent_dim, data_shape, hidden=(16,))


def clusters(n: int) -> Batch:
    """Points around three centres, one per class, (n, 2)."""
    y = torch.arange(n) % 3
    return Batch(CENTRES[y] + 0.05 * torch.randn(n, 2), y)


def few(n: int, *, uniform: bool) -> Batch:
    """Labelled points: as many of each class, or of the first class alone."""
    return clusters(n) if uniform else Batch(CENTRES[:1].repeat(n, 1), torch.zeros(n).long())


def spec(num_classes: int = 3, *, labelled: bool = True) -> DataSpec:
    return DataSpec((2,), num_classes, lambda index: CENTRES[index], 3, few if labelled else None)


@pytest.fixture
def gan() -> SemiSupervisedGAN:
    torch.manual_seed(0)
    return SemiSupervisedGAN(spec(), generator, Discriminator, latent_dim=2, labels_per_class=2)


def test_it_is_the_softmax_over_k_plus_one_classes_whose_last_logit_is_zero(gan):
    """Salimans et al. 2016, Sec. 5, written out with an explicit class "fake"."""
    batch = clusters(6)
    torch.manual_seed(1)
    values = gan.discriminator_loss(batch)
    torch.manual_seed(1)
    fake = gan.fake(gan.latents(batch.x), None)
    chosen = torch.randint(6, (50,))

    def probabilities(x: Tensor) -> Tensor:
        logits = gan.discriminator(x)
        return torch.cat([logits, torch.zeros(len(x), 1)], dim=1).softmax(dim=1)  # (B, K + 1)

    unlabelled = -(1 - probabilities(batch.x)[:, 3]).log().mean()
    unlabelled = unlabelled - probabilities(fake)[:, 3].log().mean()
    told = probabilities(gan.labelled_x[chosen])[:, :3]
    told = told / told.sum(dim=1, keepdim=True)  # p(y | x, y < K + 1)
    labelled = -told.gather(1, gan.labelled_y[chosen][:, None]).log().mean()
    torch.testing.assert_close(values["loss"], unlabelled + labelled)
    torch.testing.assert_close(values["class"], labelled)


def test_the_probability_of_being_real_is_z_over_z_plus_one(gan):
    x = clusters(5).x
    z = gan.discriminator(x).exp().sum(dim=1)
    torch.testing.assert_close(gan.judge(x, None).sigmoid(), z / (z + 1))


def test_losses_stay_finite_where_z_overflows(gan):
    gan.discriminator.output.bias.data.fill_(1000.0)
    assert torch.isfinite(gan.discriminator_loss(clusters(4))["loss"])


def test_the_generator_matches_mean_features(gan):
    """Squared distance per feature; none where the fakes are the real samples in other order."""
    batch = clusters(6)
    torch.manual_seed(1)
    fake = gan.fake(gan.latents(batch.x), None)
    difference = gan.discriminator.features(fake).mean(0) - gan.discriminator.features(
        batch.x
    ).mean(0)
    torch.manual_seed(1)
    loss = gan.generator_loss(batch)["loss"]
    assert loss.item() == pytest.approx(difference.square().sum().item() / 16)
    gan.fake = lambda z, y: batch.x.flip(0)
    assert gan.generator_loss(batch)["loss"].item() == pytest.approx(0, abs=1e-12)


def test_labels_of_the_batch_are_never_looked_at(gan):
    batch = clusters(6)
    losses = []
    for y in (batch.y, (batch.y + 1) % 3, None):
        torch.manual_seed(1)
        losses.append([phase.loss(Batch(batch.x, y))["loss"] for phase in gan.phases])
    assert losses[0] == losses[1] == losses[2]


def test_the_baseline_starts_apart_and_sees_only_labelled_samples(gan):
    phase = gan.phases[2]
    assert phase.name == "supervised"
    assert phase.module is gan.supervised
    shown = []
    gan.supervised.register_forward_hook(lambda _, inputs, output: shown.append(inputs[0]))
    phase.loss(clusters(6))
    known = {tuple(x) for x in gan.labelled_x.tolist()}
    assert len(known) == 6
    assert {tuple(x) for x in shown[0].tolist()} <= known
    shapes = [[p.shape for p in n.parameters()] for n in (gan.supervised, gan.discriminator)]
    assert shapes[0] == shapes[1]
    assert not torch.equal(gan.supervised.output.weight, gan.discriminator.output.weight)


def test_both_classifiers_learn_separable_classes_from_two_labels_each(gan):
    torch.manual_seed(0)
    optimizers = [torch.optim.Adam(phase.module.parameters(), 1e-2) for phase in gan.phases]
    for _ in range(100):
        for phase, optimizer in zip(gan.phases, optimizers, strict=True):
            loss = phase.loss(Batch(clusters(24).x))["loss"]
            gan.zero_grad()
            loss.backward()
            optimizer.step()
    test = clusters(300)
    scores = gan.held_out_scores(test, torch.Generator())
    assert set(scores) == {"accuracy", "accuracy_supervised"}
    assert all(values.mean() > 0.97 for values in scores.values())
    wrong = Batch(test.x, (test.y + 1) % 3)
    assert all(v.mean() < 0.03 for v in gan.held_out_scores(wrong, torch.Generator()).values())


def test_unlabelled_held_out_data_get_no_scores(gan):
    assert gan.held_out_scores(Batch(clusters(3).x), torch.Generator()) == {}


def test_the_labelled_samples_are_no_part_of_a_checkpoint(gan):
    assert not any(name.startswith("labelled") for name in gan.state_dict())
    assert {"labelled_x", "labelled_y"} <= dict(gan.named_buffers()).keys()


@pytest.mark.parametrize(("label_classes", "counts"), [("uniform", [2, 2, 2]), ("data", [6, 0, 0])])
def test_labelled_samples_are_asked_for_by_class_or_as_in_the_data(label_classes, counts):
    gan = SemiSupervisedGAN(
        spec(), generator, Discriminator, labels_per_class=2, label_classes=label_classes
    )
    assert gan.labelled_y.bincount(minlength=3).tolist() == counts


@pytest.mark.parametrize("data", [spec(0), spec(labelled=False)], ids=["classes", "labels"])
def test_data_without_labels_are_refused(data):
    with pytest.raises(ValueError, match=r"a semi-supervised GAN needs .*labels"):
        SemiSupervisedGAN(data, generator, Discriminator)
