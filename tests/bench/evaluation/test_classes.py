"""Classes of class-conditional samples: how often each is asked for, and the scores of each."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.data.dataset import Dataset, Split, content_hash, gather
from bench.data.mixtures import load_ring8
from bench.evaluation.evaluator import Evaluation, Evaluator
from bench.evaluation.extractors.base import IdentityExtractor
from bench.evaluation.options import EvaluatorOptions
from bench.evaluation.reference import Reference
from models.base import GenerativeModel, Sampler
from models.stored import RealData


class Oracle(RealData):
    """Held-out images of the classes that it is asked for, none twice before all are dealt out."""

    def __init__(self, data: Dataset) -> None:
        super().__init__(data.spec())
        assert data.test.labels is not None
        self.split = data.test
        self.of_class = [np.flatnonzero(data.test.labels == k) for k in range(data.num_classes)]

    @property
    def samplers(self) -> dict[str, Sampler]:
        dealt = [itertools.cycle(indices) for indices in self.of_class]

        def generate(n: int, generator: torch.Generator, y: Tensor | None) -> Tensor:
            assert y is not None
            return gather(self.split.images, np.array([next(dealt[k]) for k in y.tolist()]))

        return {"oracle": Sampler(generate, {}, classes=len(self.of_class))}


def rare_class(counts: tuple[int, int] = (1800, 200)) -> Dataset:
    """Dark and bright images in these numbers, in the train and in the test split."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], counts)
    brightness = 150 * labels[:, None, None, None]
    splits = []
    for _ in range(2):
        images = rng.integers(0, 100, (len(labels), 1, 8, 8)) + brightness
        splits.append(Split(images.astype(np.uint8), labels))
    return Dataset("rare", *splits, ("dark", "bright"), False, "rare")


class Pixels(IdentityExtractor):
    """The mean of each quarter of an image."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return torch.nn.functional.avg_pool2d(images.float(), 4).flatten(1) / 64, None


def oracle_row(data: Dataset, cache: Path, class_labels: str) -> Evaluation:
    reference = Reference(data, [Pixels()], device=torch.device("cpu"), cache_dir=cache)
    options = EvaluatorOptions(2000, 250, seed=1, class_labels=class_labels)
    return Evaluator(reference, options).evaluate(Oracle(data), last=False)[0]


def test_class_conditional_samples_have_the_classes_of_the_data(tmp_path: Path) -> None:
    """Held-out images by class are perfect samples only if classes are as frequent as in the data.

    Asked for both classes equally often, the samples' mean moves by 0.4 of the classes' distance.
    """
    data = rare_class()
    asked = {how: oracle_row(data, tmp_path, how) for how in ("data", "uniform")}
    assert {how: row.class_labels for how, row in asked.items()} == {
        "data": "data",
        "uniform": "uniform",
    }
    assert asked["data"].values["fid_identity"] < 0.02
    assert asked["uniform"].values["fid_identity"] > 3


def test_of_balanced_data_both_are_the_same(tmp_path: Path) -> None:
    data = rare_class((500, 500))
    rows = [oracle_row(data, tmp_path, how) for how in ("data", "uniform")]
    assert [row.class_labels for row in rows] == ["uniform", "uniform"]
    assert rows[0].values == rows[1].values
    assert torch.equal(rows[0].shown, rows[1].shown)


def test_one_image_more_is_another_sampling_of_other_data(tmp_path: Path) -> None:
    """The value names the distribution exactly; the data's hash tells the two sets apart anyway."""
    balanced, more = rare_class((500, 500)), rare_class((501, 500))
    hashes = {content_hash(data.train, data.test) for data in (balanced, more)}
    assert len(hashes) == 2
    rows = {how: oracle_row(more, tmp_path, how) for how in ("data", "uniform")}
    assert {how: row.class_labels for how, row in rows.items()} == {
        "data": "data",
        "uniform": "uniform",
    }
    assert not torch.equal(rows["data"].shown, rows["uniform"].shown)


def test_samplers_that_take_no_classes_name_none(tmp_path: Path) -> None:
    data = rare_class((100, 20))
    reference = Reference(data, [Pixels()], device=torch.device("cpu"), cache_dir=tmp_path)
    evaluator = Evaluator(reference, EvaluatorOptions(60, 25, seed=1))
    assert evaluator.evaluate(RealData(data.spec()), last=False)[0].class_labels == ""


def of_each_class(data: Dataset, cache: Path, model: GenerativeModel, samples: int) -> Evaluation:
    extractor = IdentityExtractor() if data.mixture else Pixels()
    reference = Reference(data, [extractor], device=torch.device("cpu"), cache_dir=cache)
    options = EvaluatorOptions(samples, 250, seed=1)
    return Evaluator(reference, options).evaluate(model, last=True)[0]


def score(row: Evaluation, metric: str) -> float:
    value = row.values[f"{metric}_identity"]
    assert value is not None
    return value


class Swapped(Oracle):
    """Held-out images of the other one of two classes."""

    @property
    def samplers(self) -> dict[str, Sampler]:
        def generate(n: int, generator: torch.Generator, y: Tensor | None) -> Tensor:
            return oracle.generate(n, generator, None if y is None else 1 - y)

        oracle = super().samplers["oracle"]
        return {"oracle": Sampler(generate, {}, classes=2)}


def test_fid_by_class_sees_a_model_that_mixes_up_its_classes(tmp_path: Path) -> None:
    """FID does not: both classes are equally frequent, so the samples as a whole are perfect."""
    data = rare_class((500, 500))
    right, wrong, real = (
        of_each_class(data, tmp_path, model, 1000)
        for model in (Oracle(data), Swapped(data), RealData(data.spec()))
    )
    for row in (right, wrong, real):
        assert score(row, "fid") < 0.02
    for row in (right, real):
        assert score(row, "fid_by_class") < 0.02
        assert score(row, "fid_worst_class") >= score(row, "fid_by_class")
    distance = 4 * (150 / 64) ** 2  # of brightness 0 to 100 and 150 to 250, in 4 quarters
    assert score(wrong, "fid_by_class") == pytest.approx(distance, rel=0.05)


def test_the_worst_class_is_named(tmp_path: Path) -> None:
    """Of bright images only the first is repeated: their variety is lost, that of dark ones not."""
    data = rare_class((500, 500))

    class Repeating(Oracle):
        @property
        def samplers(self) -> dict[str, Sampler]:
            repeated = Oracle(data)
            repeated.of_class[1] = repeated.of_class[1][:1]
            return dict(Oracle.samplers.fget(repeated))  # pyright: ignore

    row = of_each_class(data, tmp_path, Repeating(data), 1000)
    assert row.worst_class == "bright"
    assert score(row, "fid_worst_class") == pytest.approx(2 * score(row, "fid_by_class"), rel=0.05)


class Unlabelled(RealData):
    """Images of which nobody says the class, as those of an unconditional model."""

    @property
    def samplers(self) -> dict[str, Sampler]:
        return {"plain": replace(super().samplers["held-out"], labels=None)}


def test_without_a_class_or_with_too_few_of_one_there_is_no_fid_by_class(tmp_path: Path) -> None:
    data = rare_class((500, 500))
    unconditional = of_each_class(data, tmp_path, Unlabelled(data.spec()), 100)
    few = of_each_class(data, tmp_path, Oracle(data), 50)  # 25 of each, and 30 are needed
    rare = of_each_class(rare_class((500, 20)), tmp_path / "rare", RealData(data.spec()), 500)
    for row in (unconditional, few, rare):
        assert "fid_by_class_identity" not in row.values
        assert row.worst_class == ""
        assert score(row, "vendi") >= 1


def test_the_vendi_score_of_points_is_empty(tmp_path: Path) -> None:
    ring = load_ring8(data_root=tmp_path)
    row = of_each_class(ring, tmp_path, RealData(ring.spec()), 300)
    assert np.isnan(score(row, "vendi"))
