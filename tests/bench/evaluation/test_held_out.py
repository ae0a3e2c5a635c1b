"""Held-out columns are means over samples, for models that provide them."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from bench.data.dataset import Dataset, Split, few_images
from bench.evaluation import held_out
from bench.evaluation.evaluator import Evaluator
from bench.evaluation.extractors.base import IdentityExtractor
from bench.evaluation.held_out import discriminator_gap, held_out_scores
from bench.evaluation.options import EvaluatorOptions
from bench.evaluation.reference import Reference
from bench.runs.directory import RunDirectory
from bench.schema import HELD_OUT, eval_columns
from models.base import Batch, GenerativeModel, Sampler

CPU = torch.device("cpu")
Scores = Callable[[Batch, Generator], dict[str, Tensor]]


class Says(GenerativeModel):
    """Draws uniform points, and says of real data what it is given to say."""

    def __init__(self, scores: Scores | None = None) -> None:
        super().__init__((2,))
        self.scores = scores
        self.batches: list[Batch] = []

    @property
    def samplers(self) -> dict[str, Sampler]:
        def generate(n: int, generator: Generator, y: Tensor | None) -> Tensor:
            return torch.rand(n, 2, generator=generator) * 2 - 1

        return {"one": Sampler(generate, {}), "two": Sampler(generate, {})}

    def held_out_scores(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        self.batches.append(batch)
        return {} if self.scores is None else self.scores(batch, generator)


def data(held_out: int = 23, classes: int = 3) -> Dataset:
    """Random points in the plane with random classes, or with none."""
    generator = np.random.default_rng(0)
    splits = []
    for n in (40, held_out):
        points = generator.uniform(-1, 1, (n, 2)).astype(np.float32)
        splits.append(Split(points, generator.integers(0, classes, n) if classes else None))
    return Dataset("tiny", *splits, tuple("abcdefgh"[:classes]), False, "0" * 16)


def scored(
    model: GenerativeModel, dataset: Dataset, batch_size: int = 5, seed: int = 0, **settings: str
) -> dict[str, float]:
    with torch.inference_mode():
        return held_out_scores(
            model.eval(),
            dataset,
            batch_size=batch_size,
            seed=seed,
            **{"precision": "fp32"} | settings,
        )


def bits_and_accuracy(batch: Batch, generator: Generator) -> dict[str, Tensor]:
    assert batch.y is not None
    told = (batch.x[:, 0] > 0).long()
    return {"bits_per_dim": batch.x.square().sum(1), "accuracy": (told == batch.y).float()}


@pytest.mark.parametrize("batch_size", [1, 5, 23, 100])
def test_columns_are_means_over_the_test_split(batch_size):
    dataset = data()
    points, labels = dataset.test.images.astype(np.float64), dataset.test.labels
    assert scored(Says(bits_and_accuracy), dataset, batch_size) == pytest.approx(
        {
            "bits_per_dim": sum(x * x + y * y for x, y in points) / 23,
            "accuracy": sum((points[:, 0] > 0) == labels) / 23,
        }
    )


def test_every_held_out_sample_is_shown_once_with_its_label():
    dataset, model = data(), Says(bits_and_accuracy)
    scored(model, dataset)
    assert [len(batch.x) for batch in model.batches] == [5, 5, 5, 5, 3]
    shown = torch.cat([batch.x for batch in model.batches])
    assert np.array_equal(shown.numpy(), dataset.test.images)
    labels = torch.cat([batch.y for batch in model.batches if batch.y is not None])
    assert labels.dtype == torch.int64
    assert np.array_equal(labels.numpy(), dataset.test.labels)


def test_unlabelled_data_are_shown_without_labels():
    model = Says(lambda batch, generator: {"bits_kl": batch.x[:, 0]})
    assert scored(model, data(classes=0)).keys() == {"bits_kl"}
    assert all(batch.y is None for batch in model.batches)


def test_a_model_that_only_draws_is_asked_once_and_has_no_columns():
    model = Says()
    assert scored(model, data()) == {}
    assert len(model.batches) == 1


def test_of_a_large_split_some_samples_are_shown_at_equal_distances(monkeypatch):
    monkeypatch.setattr(held_out, "MOST_SAMPLES", 7)
    dataset, model = data(), Says(bits_and_accuracy)
    scores = scored(model, dataset)
    assert [len(batch.x) for batch in model.batches] == [5, 2]
    chosen = dataset.test.images[[0, 4, 7, 11, 15, 18, 22]].astype(np.float64)
    assert scores["bits_per_dim"] == pytest.approx((chosen**2).sum(1).mean())


def test_means_are_exact_where_float32_cannot_add():
    """In float32 the sum of 2^25 and 22 ones is 2^25."""

    def scores(batch: Batch, generator: Generator) -> dict[str, Tensor]:
        values = torch.ones(len(batch.x))
        values[batch.x[:, 0] == first] = 2.0**25
        return {"bits_kl": values}

    dataset = data()
    first = dataset.test.images[0, 0].item()
    assert scored(Says(scores), dataset)["bits_kl"] == (2.0**25 + 22) / 23


def noisy(batch: Batch, generator: Generator) -> dict[str, Tensor]:
    return {"bits_per_dim": torch.randn(len(batch.x), generator=generator)}


def test_scores_are_a_function_of_the_seed():
    dataset = data()
    first = scored(Says(noisy), dataset, seed=1)
    torch.rand(5)  # the global generator has no part in it
    assert scored(Says(noisy), dataset, seed=1) == first
    assert scored(Says(noisy), dataset, seed=2) != first


def test_batches_share_one_generator():
    seen: list[Tensor] = []

    def scores(batch: Batch, generator: Generator) -> dict[str, Tensor]:
        seen.append(torch.randn(1, generator=generator))
        return {"bits_per_dim": batch.x[:, 0]}

    scored(Says(scores), data(), seed=4)
    generator = torch.Generator().manual_seed(4)
    assert seen == [torch.randn(1, generator=generator) for _ in range(5)]


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", "float32"), ("bf16", "bfloat16")])
def test_models_look_at_the_data_in_the_precision_of_the_run(precision, dtype):
    dtypes = set()

    def scores(batch: Batch, generator: Generator) -> dict[str, Tensor]:
        product = batch.x @ torch.ones(2, 1)  # (B, 1)
        dtypes.add(str(product.dtype))
        return {"bits_per_dim": product[:, 0]}

    scored(Says(scores), data(), precision=precision)
    assert dtypes == {f"torch.{dtype}"}


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        (lambda b, g: {"likelihood": b.x[:, 0]}, r"gave likelihood of shape \(5,\)"),
        (lambda b, g: {"accuracy": b.x}, r"gave accuracy of shape \(5, 2\)"),
        (lambda b, g: {"accuracy": b.x.mean()}, r"gave accuracy of shape \(\)"),
        (lambda b, g: {"accuracy": b.x[:1, 0]}, r"gave accuracy of shape \(1,\)"),
    ],
    ids=["another column", "two values each", "their mean", "one for all"],
)
def test_what_is_no_value_per_sample_of_a_known_column_is_refused(scores, sentence):
    with pytest.raises(ValueError, match=sentence):
        scored(Says(scores), data())


def evaluated(model: GenerativeModel, cache: Path, *, last: bool) -> list[dict[str, str]]:
    """Rows of eval.csv of an evaluation, by sampler."""
    reference = Reference(data(), [IdentityExtractor()], device=CPU, cache_dir=cache)
    evaluator = Evaluator(reference, EvaluatorOptions(samples=20, batch_size=5, seed=3))
    rows = [
        {"checkpoint": 1, "sampler": e.sampler, "weights": "raw", **e.values}
        for e in evaluator.evaluate(model, last=last)
    ]
    with RunDirectory(cache / "run") as run:
        run.append_eval(rows, eval_columns(("identity",)))
    with (cache / "run" / "eval.csv").open() as file:
        return list(csv.DictReader(file))


def test_at_the_end_the_rows_of_all_samplers_have_the_columns(tmp_path):
    rows = evaluated(Says(bits_and_accuracy), tmp_path, last=True)
    assert [row["sampler"] for row in rows] == ["one", "two"]
    expected = scored(Says(bits_and_accuracy), data())
    for row in rows:
        assert {name: float(row[name]) for name in expected} == pytest.approx(expected)
        assert [name for name in HELD_OUT if row[name]] == ["bits_per_dim", "accuracy"]


@pytest.mark.parametrize(
    ("scores", "last"), [(bits_and_accuracy, False), (None, True)], ids=["early", "only draws"]
)
def test_columns_are_empty_before_the_end_and_of_a_model_that_only_draws(tmp_path, scores, last):
    rows = evaluated(Says(scores), tmp_path, last=last)
    assert len(rows) == (2 if last else 1)  # before the end there is the first sampler only
    assert not any(row[name] for row in rows for name in HELD_OUT)
    assert all(row["fid_identity"] for row in rows)


def test_samples_sorted_by_class_are_seen_from_all_classes(monkeypatch):
    """A folder's own test split is sorted; the first samples would be of the first class only."""
    monkeypatch.setattr(held_out, "MOST_SAMPLES", 6)
    dataset = data(held_out=30)
    assert dataset.test.labels is not None
    dataset.test.labels.sort()
    model = Says(bits_and_accuracy)
    scored(model, dataset, batch_size=4)
    seen = torch.cat([batch.y for batch in model.batches if batch.y is not None])
    assert len(seen) == 6
    assert seen.unique().tolist() == [0, 1, 2]


class Judges(Says):
    """Finds a point as real as it lies far right."""

    def real_logits(self, batch: Batch) -> Tensor:
        self.batches.append(batch)
        return batch.x[:, 0]


@pytest.mark.parametrize("batch_size", [4, 100])
def test_the_gap_is_the_difference_of_mean_logits_of_training_and_held_out_samples(batch_size):
    """23 evenly spaced ones of 40 training samples against all 23 held-out ones."""
    dataset, model = data(), Judges()
    found = discriminator_gap(model, dataset, batch_size=batch_size, precision="fp32")
    chosen = np.linspace(0, 39, 23).round().astype(int)
    expected = dataset.train.images[chosen, 0].mean() - dataset.test.images[:, 0].mean()
    assert found == {"discriminator_gap": pytest.approx(float(expected), abs=1e-6)}
    labels = torch.cat([batch.y for batch in model.batches if batch.y is not None])
    assert len(labels) == 46


def test_the_gap_is_that_of_the_images_that_the_model_was_trained_on():
    """Of 40 training images 7 are seen in training: the other 33 are as new as held-out ones."""
    dataset, model = few_images(data(), 7), Judges()
    assert dataset.few is not None
    found = discriminator_gap(model, dataset, batch_size=4, precision="fp32")
    held = np.linspace(0, 22, 7).round().astype(int)
    seen, new = dataset.train.images[dataset.few, 0], dataset.test.images[held, 0]
    assert found == {"discriminator_gap": pytest.approx(float(seen.mean() - new.mean()), abs=1e-6)}
    judged = torch.cat([batch.x for batch in model.batches])
    assert torch.equal(judged[:7], torch.from_numpy(dataset.train.images[dataset.few]))
    assert len(judged) == 14


def test_a_model_without_a_discriminator_has_no_gap():
    assert discriminator_gap(Says(), data(), batch_size=5, precision="fp32") == {}


def test_at_the_end_a_row_has_the_gap(tmp_path):
    (first, _) = evaluated(Judges(), tmp_path, last=True)
    expected = discriminator_gap(Judges(), data(), batch_size=5, precision="fp32")
    assert float(first["discriminator_gap"]) == pytest.approx(expected["discriminator_gap"])
