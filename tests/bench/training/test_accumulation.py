"""Gradient accumulation: equal to the whole batch, or refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_models import batch_for, built, trainer_of
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from two_players import Two, sgd, split

from bench.config import Budget, TrainerSettings
from bench.data.batches import BatchStream
from bench.training.accumulation import Accumulation, accumulation, parts_of
from bench.training.callbacks import SilentObserver
from bench.training.recipe import Recipe
from bench.training.trainer import Trainer
from models.base import Batch, GenerativeModel, Phase, Sampler

CPU = torch.device("cpu")


class Regression(GenerativeModel):
    """Reconstructs images without random numbers: a mean over samples, with buffers of every kind.

    Attributes:
        seen: what the loss writes of its batch, of which the trainer makes a sum.
        level: moves towards the mean of the batch inside the loss.
        bounded: whose weight is divided by its largest singular value.
    """

    def __init__(self) -> None:
        super().__init__((1, 8, 8))
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh())
        self.bounded = spectral_norm(nn.Linear(32, 64))
        self.network = nn.Sequential(self.first, self.bounded)
        self.register_buffer("seen", torch.zeros(2))
        self.register_buffer("level", torch.zeros(()))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.observed: list[list[float]] = []
        self.sizes: list[int] = []

    @property
    def phases(self) -> tuple[Phase, ...]:
        def follow() -> None:
            self.observed.append(self.seen.tolist())

        phase = Phase("network", self.network, self.loss, after_update=follow, summed=(self.seen,))
        lazy = Phase("lazy", self.network, self.penalty, every=3, optimizer="network")
        return phase, lazy

    @property
    def samplers(self) -> dict[str, Sampler]:
        return {"none": Sampler(lambda n, generator, y: torch.zeros(n, 1, 8, 8), {})}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        self.sizes.append(len(batch.x))
        with torch.no_grad():
            self.seen.copy_(torch.stack([batch.x.sum(), torch.tensor(float(len(batch.x)))]))
            self.level.lerp_(batch.x.mean(), 0.1)
            self.updates += 1
        error = (self.network(batch.x) - batch.x.flatten(1)).square().mean()
        return {"loss": error, "size": torch.tensor(float(len(batch.x)))}

    def penalty(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self.first(batch.x).square().mean()}


class Normalised(Regression):
    """The same with batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first.append(nn.BatchNorm1d(32))


class Summed(Regression):
    """The same with a loss that is a sum over samples."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        values = super().loss(batch)
        return values | {"loss": values["loss"] * len(batch.x)}


def trainer(
    folder: Path, parts: int, model: GenerativeModel | None = None, batch_size: int = 12, **recipe
) -> Trainer:
    model = model or Regression()
    optimizers = dict.fromkeys({phase.updated_by for phase in model.phases}, sgd)
    return Trainer(
        model,
        Recipe(batch_size=batch_size, optimizers=optimizers, ema_decay=0.9, **recipe),
        Budget(images=batch_size * 7),
        BatchStream(split(), batch_size, seed=0, flip=True),
        folder,
        TrainerSettings(log_every=2, accumulate=parts),
    )


class Log(SilentObserver):
    def __init__(self) -> None:
        self.values: list[dict[str, float]] = []

    def on_log(self, values: dict[str, float]) -> None:
        self.values.append(values)


def test_training_in_parts_is_training_on_the_whole_batch(tmp_path: Path) -> None:
    whole, parts = (
        trainer(tmp_path / "a", 1, clip_norm=0.2),
        trainer(tmp_path / "b", 4, clip_norm=0.2),
    )
    parts.model.sizes.clear()  # those of the check
    logs = Log(), Log()
    whole.fit(logs[0])
    parts.fit(logs[1])
    assert set(whole.model.sizes[:7]) == {12}
    assert parts.model.sizes == [3] * 4 * 7
    torch.testing.assert_close(parts.state_dict()["model"], whole.state_dict()["model"])
    torch.testing.assert_close(parts.state_dict()["ema"], whole.state_dict()["ema"])
    assert parts.model.updates == whole.model.updates == 7
    assert len(parts.model.observed) == 7  # after every update
    torch.testing.assert_close(
        torch.tensor(parts.model.observed), torch.tensor(whole.model.observed)
    )
    assert (parts.spent.step, parts.spent.images) == (whole.spent.step, whole.spent.images)
    for of_parts, of_whole in zip(logs[1].values, logs[0].values, strict=True):
        sizes = of_parts.pop("network/size"), of_whole.pop("network/size")
        assert sizes == (3.0, 12.0)
        assert of_parts == pytest.approx(of_whole, rel=1e-5)


@pytest.mark.parametrize("name", ["ddpm_small", "mlp_gan", "meanflow_points", "edm_augment_small"])
def test_models_without_batch_norm_can_be_trained_in_parts(name: str) -> None:
    model = built(name, CPU)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    assert accumulation(model, lambda: batch_for(name), 2, 1).count == 2
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("dcgan_small", "discriminator"),  # batch norm
        ("dcgan_sn_small", "discriminator"),  # of the generator, whose samples it judges
        ("progan_small", "discriminator"),  # minibatch standard deviation
        ("drifting_points", "generator"),  # pairs of samples
        ("vae_small", "autoencoder"),  # the logarithm of a mean
    ],
)
def test_models_whose_samples_see_each_other_are_refused(name: str, phase: str) -> None:
    with pytest.raises(ValueError, match=rf"trainer\.accumulate=4 .* in whose {phase} loss"):
        accumulation(built(name, CPU), lambda: batch_for(name), 4, 1)


@pytest.mark.parametrize("model", [Normalised, Summed])
@pytest.mark.parametrize("batch_size", [2, 4, 12])
def test_a_loss_that_is_no_mean_over_samples_is_refused(
    tmp_path: Path, model: type[Regression], batch_size: int
) -> None:
    with pytest.raises(ValueError, match="not the mean over parts of the batch"):
        trainer(tmp_path, 2, model(), batch_size)


def test_parts_must_be_equal(tmp_path: Path) -> None:
    said = r"trainer.accumulate=5 does not divide model.training.batch_size=12: set it to 4 or 6"
    with pytest.raises(ValueError, match=said):
        trainer(tmp_path, 5)
    batch = Batch(torch.zeros(6, 1, 8, 8))
    said = (
        "accumulate=4 does not divide the 6 samples that each of 2 processes has of "
        "model.training.batch_size=12: set it to 3 or 6"
    )
    with pytest.raises(ValueError, match=said):
        accumulation(Regression(), lambda: batch, 4, 2)


def test_parts_hold_every_sample_once_with_its_label() -> None:
    x = torch.arange(12.0).view(12, 1, 1, 1).expand(12, 3, 2, 2)
    batch = Batch(x.contiguous(memory_format=torch.channels_last), torch.arange(12))
    parts = parts_of(batch, 3)
    assert [part.y.tolist() for part in parts] == [[k, k + 3, k + 6, k + 9] for k in range(3)]
    for part in parts:
        assert torch.equal(part.x[:, 0, 0, 0], part.y.float())
        assert part.x.is_contiguous(memory_format=torch.channels_last)


def test_noise_of_parts_is_independent() -> None:
    """Parts sample one after the other, as ranks do: their noise is not that of the whole batch."""
    drawn = []

    def loss(batch: Batch) -> dict[str, Tensor]:
        drawn.append(torch.randn(len(batch.x)))
        return {"loss": torch.zeros((), requires_grad=True)}

    torch.manual_seed(0)
    Accumulation(2).backward(Two().phases[0], Batch(torch.zeros(4, 1, 8, 8)), loss)
    assert not torch.equal(*drawn)


def test_a_killed_run_in_parts_ends_with_the_same_weights_bit_for_bit(tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole", 3)
    whole.fit(SilentObserver())
    killed = trainer(tmp_path / "killed", 3)
    for _ in range(4):
        killed.step()
    killed._save(SilentObserver())
    resumed = trainer(tmp_path / "killed", 3)
    resumed.resume()
    assert resumed.spent.step == 4
    resumed.fit(SilentObserver())
    for key, value in whole.state_dict()["model"].items():
        assert torch.equal(resumed.state_dict()["model"][key], value)


def test_flops_of_a_step_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    plain = trainer_of("mlp_gan", CPU, tmp_path / "c")
    divided = Trainer(
        plain.model,
        plain.recipe,
        plain.budget,
        plain.batches,
        tmp_path / "d",
        replace(plain.settings, accumulate=2),
    )
    assert plain._flops_of_step(0.0) == divided._flops_of_step(0.0)
