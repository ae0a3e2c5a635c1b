"""Estimates against models that sleep, by a clock that nothing but sleep moves."""

import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_datasets import tiny_dataset
from torch import Tensor, nn
from two_players import Two, make

from bench.config import Budget
from bench.data.dataset import Dataset
from bench.estimate import (
    data_costs,
    extraction,
    forecast,
    held_out_seconds,
    kind_of,
    measuring_seconds,
    sampling_seconds,
    training_seconds,
)
from bench.evaluation.extractors.base import IdentityExtractor
from bench.evaluation.options import EvaluatorOptions
from bench.training.trainer import Trainer
from models.base import Batch, Phase, Sampler

CPU = torch.device("cpu")


READING = 1e-6
"""Seconds that pass whenever the clock is read: no work is free."""


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make sleeping the only work that takes time, whatever else the machine does."""
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def read() -> float:
        sleep(READING)
        return now

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "perf_counter", read)


def about(seconds: float):
    return pytest.approx(seconds, rel=0.05)


class Growing(Two):
    """Its steps take 10 ms at first and 50 ms at the end."""

    def first_loss(self, batch: Batch) -> dict[str, Tensor]:
        time.sleep(0.01 + 0.04 * self.progress.item())
        return super().first_loss(batch)


class Lazily(Two):
    """Its steps take 10 ms, and two phases beside take 10 ms each on average over their steps."""

    @property
    def phases(self) -> tuple[Phase, ...]:
        def sleep(seconds: float, batch: Batch) -> dict[str, Tensor]:
            time.sleep(seconds)
            return super(Lazily, self).first_loss(batch)

        return (
            Phase("first", self.first, partial(sleep, 0.01)),
            *(
                Phase(name, self.first, partial(sleep, 0.01 * every), every=every)
                for name, every in (("often", 4), ("rarely", 16))
            ),
        )


class Slow(nn.Module):
    """A network that takes 1 ms, and 1 ms for each sample."""

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(0.001 * (1 + len(x)))
        return x


def slow_sampler(calls: int) -> Sampler:
    network = Slow()

    def draw(n: int, generator: torch.Generator, y: Tensor | None) -> Tensor:
        x = torch.zeros(n, 1, 8, 8)
        for _ in range(calls):
            x = network(x)
        return x

    return Sampler(draw, {network: calls})


def options(samples: int, **more) -> EvaluatorOptions:
    return EvaluatorOptions(samples=samples, **more)


@pytest.fixture
def data() -> Dataset:
    return tiny_dataset()


def test_a_budget_in_seconds_is_exact_and_takes_no_step(tmp_path, data, monkeypatch) -> None:
    monkeypatch.setattr(Trainer, "step", lambda self: pytest.fail("a step was taken"))
    assert training_seconds(make(tmp_path, Two(), Budget(seconds=3600)), data) == 3600


def test_a_budget_in_images_is_timed_along_the_whole_of_it(tmp_path: Path, data) -> None:
    trainer = make(tmp_path, Growing(), Budget(images=80_000))  # 10,000 steps of 30 ms on average
    assert training_seconds(trainer, data) == about(300)
    both = make(tmp_path, Growing(), Budget(images=80_000, seconds=20))
    assert training_seconds(both, data) == 20  # what is reached first
    nominal = make(tmp_path, Growing(), Budget(seconds=8, images_per_second=10_000))
    assert training_seconds(nominal, data) == about(300)


def test_phases_of_every_kth_step_take_their_share_of_a_step(tmp_path: Path, data) -> None:
    trainer = make(tmp_path, Lazily(), Budget(images=80_000))  # 10,000 steps of 30 ms on average
    assert training_seconds(trainer, data) == about(300)


def test_timing_leaves_the_trainer_as_it_was(tmp_path: Path, data) -> None:
    trainer = make(tmp_path, Growing(), Budget(images=80_000), ema_decay=0.9)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    random = torch.random.get_rng_state()
    forecast(trainer, data_costs(data, options(10), CPU, tmp_path).extractions, data, options(10))
    after = trainer.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert (trainer.spent.step, trainer.spent.images) == (0, 0)
    assert trainer.model.training
    assert not list(tmp_path.rglob("*"))  # no checkpoint, nothing in the cache


@pytest.mark.parametrize("calls", [1, 1000])
def test_samples_are_timed_in_batches_without_drawing_them_all(calls: int) -> None:
    start = time.perf_counter()
    found = sampling_seconds(slow_sampler(calls), options(10_000, batch_size=250), CPU)
    assert time.perf_counter() - start < 5
    assert found == about(10_000 * calls * 0.00105)


def test_no_network_takes_no_time() -> None:
    stored = Sampler(lambda n, generator, y: pytest.fail("was drawn"), calls=None)
    assert sampling_seconds(stored, options(10_000), CPU) == 0


def test_the_last_evaluation_has_the_costs_in_it(tmp_path: Path, data) -> None:
    class Sampling(Two):
        @property
        def samplers(self) -> dict[str, Sampler]:
            return {"slow": slow_sampler(100), "fast": slow_sampler(1)}

    trainer = make(tmp_path, Sampling(), Budget(seconds=60, checkpoints=3))
    found = forecast(trainer, (), data, options(200, cost_seconds=7))
    assert (found.training, found.points) == (60, 3)
    assert found.point == about(200 * 0.105)  # the first sampler alone
    assert found.last is not None
    assert found.point is not None
    fast = found.last - found.point - 2 * 0.75 * 7  # costs of both, and samples of the fast one
    assert fast == about(0.4)  # each alone takes 2 ms


def test_measuring_costs_takes_less_than_it_may_where_repetitions_are_short() -> None:
    fast, slow, stored = slow_sampler(1), slow_sampler(100), slow_sampler(0)
    assert measuring_seconds(fast, 1e-5, 10) == pytest.approx(0.01 + 0.13 + 0.1)
    assert measuring_seconds(slow, 1e-3, 10) == pytest.approx(1 + 0.13 + 2.5)
    assert measuring_seconds(slow, 1, 10) == 7.5
    assert measuring_seconds(slow, 1, 0) == measuring_seconds(stored, 0, 10) == 0


def test_what_a_first_call_compiles_is_not_counted_for_every_sample(tmp_path: Path, data) -> None:
    class Compiled(Two):
        def held_out_scores(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
            time.sleep(0.001 * len(batch.x) if self.__dict__.get("ready") else 5)
            self.__dict__["ready"] = True
            return {}

    model = make(tmp_path, Compiled(), Budget(seconds=60)).evaluated
    seconds = held_out_seconds(model, data, options(200), CPU)
    assert seconds == about(0.001 * len(data.test))


def test_the_last_evaluation_scores_held_out_samples(tmp_path: Path, data) -> None:
    """Scores that take 10 ms a sample and curves that take 30 ms."""

    class Scored(Two):
        def held_out_scores(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
            time.sleep(0.01 * len(batch.x))
            return {}

        def held_out_curves(self, batch, generator):
            time.sleep(0.03 * len(batch.x))
            return {}

    trainer = make(tmp_path, Scored(), Budget(seconds=60))
    plain = make(tmp_path, Two(), Budget(seconds=60))
    last = [
        forecast(each, (), data, options(200, cost_seconds=7)).last for each in (trainer, plain)
    ]
    n = len(data.test)
    assert last[0] is not None
    assert last[1] is not None
    assert n <= 64
    assert last[0] - last[1] == about(0.04 * n)


def test_extraction_is_timed_and_weights_that_do_not_fit_are_refused(data) -> None:
    class Slowly(IdentityExtractor):
        def forward(self, images: Tensor) -> tuple[Tensor, None]:
            time.sleep(0.01 * len(images))
            return images.flatten(1).float(), None

    found = extraction(Slowly(), data, CPU)
    assert found.seconds == about(0.01)
    assert found.features == 64

    class Broken(IdentityExtractor):
        def forward(self, images: Tensor) -> tuple[Tensor, None]:
            return images.flatten(1).float() * np.nan, None

    with pytest.raises(ValueError, match="gives features of tiny that are not finite"):
        extraction(Broken(), data, CPU)


def test_what_is_computed_once_is_counted_until_it_is_there(tmp_path: Path, monkeypatch) -> None:
    data = tiny_dataset(labelled=True, side=16)
    wanted = options(16, extractor="patches", batch_size=16)
    missing = data_costs(data, wanted, CPU, tmp_path)
    assert missing.once > 0
    from bench.build import build_evaluator

    build_evaluator(wanted, data, CPU, tmp_path)
    assert data_costs(data, wanted, CPU, tmp_path).once == 0
    untrained = data_costs(data, options(16, extractor="domain"), CPU, tmp_path)
    assert untrained.once > missing.once  # its classifier has to be trained, and was not
    assert not (tmp_path / "classifiers").exists()


def test_a_kind_is_what_costs_the_same() -> None:
    def config(**changes) -> dict:
        training = {"batch_size": 64, "optimizers": {"g": {"lr": 1}}} | changes.get("training", {})
        data = {"name": "x", "train_images": changes.get("images")}
        given = {"dataset": data, "evaluator": {}, "trainer": {}, "budget": {"seconds": 1}}
        model = {"name": "m", "build": changes.get("build", {}), "training": training}
        same = {"precision": "fp32", "threads": None, "device": "cpu", "seed": changes.get("seed")}
        return given | same | {"model": model}

    assert kind_of(config(seed=1)) == kind_of(config(seed=2)) == kind_of(config(images=250))
    assert kind_of(config(training={"optimizers": {"g": {"lr": 2}}})) == kind_of(config())
    assert kind_of(config(training={"batch_size": 8})) != kind_of(config())
    assert kind_of(config(build={"width": 8})) != kind_of(config())
