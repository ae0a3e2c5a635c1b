"""The reference computes every part once, and the scores of a perfect sampler."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.data.dataset import Dataset, Split, content_hash, few_images
from bench.data.mixtures import load_ring8
from bench.data.sources import load_digits, load_fashion_mnist
from bench.data.stacked import load_stacked_digits
from bench.evaluation.blind_spots import GAUSSIAN
from bench.evaluation.extractors.base import WHOLE, IdentityExtractor, fixed_part
from bench.evaluation.extractors.classifier import DomainClassifier
from bench.evaluation.extractors.domain import DomainExtractor, StackedExtractor
from bench.evaluation.extractors.known_bad import known_bad
from bench.evaluation.extractors.registry import build_extractor
from bench.evaluation.metrics.copying import held_out_closeness
from bench.evaluation.reference import Reference
from bench.runs.provenance import reference_size

DATA = Path(os.environ.get("BENCH_DATA") or "/nowhere")
CPU = torch.device("cpu")


class Counting(DomainExtractor):
    """A domain extractor that counts the images that it has seen."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(DomainClassifier((1, 8, 8), 10, width=4).eval(), test_accuracy=0.9)
        self.seen = 0

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        self.seen += len(images)
        return super().forward(images)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits(data_root=Path())


def test_features_are_extracted_once_and_kept_between_runs(digits, tmp_path):
    first, second = Counting(), Counting()
    reference = Reference(digits, [first], device=CPU, cache_dir=tmp_path)
    features = [reference.train(first), reference.train(first), reference.test(first)]
    assert features[0] is features[1]
    assert first.seen == len(digits.train) + len(digits.test)
    again = Reference(digits, [second], device=CPU, cache_dir=tmp_path)
    assert torch.equal(again.train(second).features, features[0].features)
    assert second.seen == 0


def test_known_bad_samples_are_scored_once_and_kept_between_runs(digits, tmp_path):
    first, second = Counting(), Counting()
    reference = Reference(digits, [first], device=CPU, cache_dir=tmp_path)
    spots = reference.blind_spots(first)
    assert spots is not None
    noise, blurred, copies, real = 2 * 700, 700, 700, 700
    features = len(digits.train) + len(digits.test)
    assert first.seen == features + noise + blurred + copies + real + 2  # constant images once
    again = Reference(digits, [second], device=CPU, cache_dir=tmp_path)
    assert again.blind_spots(second) == spots
    assert second.seen == 0


def test_points_are_not_checked(tmp_path):
    ring = load_ring8(data_root=tmp_path)
    extractor = IdentityExtractor()
    reference = Reference(ring, [extractor], device=CPU, cache_dir=tmp_path)
    assert reference.blind_spots(extractor) is None


def test_the_shipped_classifier_of_digits_sees_all_known_bad_samples(digits, tmp_path):
    extractor = build_extractor("domain", digits, device=CPU, cache_dir=tmp_path)
    reference = Reference(digits, [extractor], device=CPU, cache_dir=tmp_path)
    assert reference.blind_spots(extractor) == ()


@pytest.mark.skipif(not (DATA / "FashionMNIST").is_dir(), reason="BENCH_DATA has no Fashion-MNIST")
def test_a_weak_classifier_is_blind_to_noise_and_patches_are_not(tmp_path):
    """Four classes of clothes that look alike, a few images of each: noise is as precise as real
    data in the eyes of their classifier."""
    whole = load_fashion_mnist(data_root=DATA, cache_root=tmp_path)
    classes = (0, 2, 4, 6)  # T-shirt, pullover, coat, shirt
    train, test = (
        _part(split, classes, each) for split, each in ((whole.train, 25), (whole.test, 100))
    )
    names = tuple(whole.classes[k] for k in classes)
    data = Dataset("tops", train, test, names, False, content_hash(train, test), own=True)
    precision = {}
    for name in ("domain", "patches"):
        extractor = build_extractor(name, data, device=CPU, cache_dir=tmp_path)
        reference = Reference(data, [extractor], device=CPU, cache_dir=tmp_path)
        spots = reference.blind_spots(extractor) or ()
        precision[name] = {s.kind: s for s in spots if s.metric == "precision"}
        if name == "domain":
            assert reference.perfect(100)["classifier_error"] > 0.25
    noise = precision["domain"][GAUSSIAN]
    assert noise.score > 0.8
    assert noise.real > 0.8
    assert not precision["patches"]


def _part(split: Split, classes: tuple[int, ...], each: int) -> Split:
    labels = np.asarray(split.labels)
    index = np.sort(np.concatenate([np.flatnonzero(labels == k)[:each] for k in classes]))
    return Split(np.array(split.images[index]), np.searchsorted(classes, labels[index]))


def test_distances_within_the_data_are_kept_too(digits, tmp_path, monkeypatch):
    extractor = Counting()
    reference = Reference(digits, [extractor], device=CPU, cache_dir=tmp_path)
    nearest = reference.nearest(extractor)
    expected = torch.cdist(*[reference.train(extractor).features.double()] * 2)
    expected.fill_diagonal_(torch.inf)
    torch.testing.assert_close(nearest.double(), expected.amin(1), atol=1e-3, rtol=1e-3)

    def compute_again(features: Tensor) -> Tensor:
        raise AssertionError("computed again")

    monkeypatch.setattr("bench.evaluation.reference.nearest_distances", compute_again)
    again = Reference(digits, [Counting()], device=CPU, cache_dir=tmp_path)
    assert torch.equal(again.nearest(extractor), nearest)


def test_closeness_of_held_out_images_is_kept_too(digits, tmp_path, monkeypatch):
    extractor = Counting()
    reference = Reference(digits, [extractor], device=CPU, cache_dir=tmp_path)
    features = [reference.train(extractor).features, reference.test(extractor).features]
    assert torch.equal(reference.closeness(extractor), held_out_closeness(*features))

    def compute_again(train: Tensor, test: Tensor) -> Tensor:
        raise AssertionError("computed again")

    monkeypatch.setattr("bench.evaluation.reference.held_out_closeness", compute_again)
    again = Reference(digits, [Counting()], device=CPU, cache_dir=tmp_path)
    assert len(again.closeness(extractor)) == len(digits.test)


def test_frequencies_are_those_of_the_training_data_unless_designed(digits, tmp_path):
    reference = Reference(digits, [Counting()], device=CPU, cache_dir=tmp_path)
    counts = np.bincount(digits.train.labels)
    np.testing.assert_allclose(reference.class_frequencies, counts / len(digits.train))
    assert reference.expected_modes(700) == pytest.approx(10)
    assert 5 < reference.expected_modes(10) < 8
    ring = load_ring8(data_root=Path())
    designed = Reference(ring, [IdentityExtractor()], device=CPU, cache_dir=tmp_path)
    np.testing.assert_array_equal(designed.class_frequencies, np.full(8, 1 / 8))


def test_unlabelled_data_has_no_modes(digits, tmp_path):
    unlabelled = replace(digits, classes=(), train=replace(digits.train, labels=None))
    reference = Reference(unlabelled, [], device=CPU, cache_dir=tmp_path)
    assert reference.expected_modes(100) is None
    assert reference.perfect(100) == {}


def test_a_stack_is_misread_if_one_of_its_digits_is(digits, tmp_path):
    stacked = load_stacked_digits(data_root=tmp_path, cache_root=tmp_path)
    torch.manual_seed(0)
    classifier = DomainClassifier((1, 8, 8), 10, width=4).eval()
    extractor = StackedExtractor(classifier, test_accuracy=0.9)
    perfect = Reference(stacked, [extractor], device=CPU, cache_dir=tmp_path).perfect(26_000)
    assert perfect["classifier_error"] == pytest.approx(1 - 0.9**3)
    assert perfect["modes_perfect"] == pytest.approx(1000, abs=0.01)
    assert "high_quality_perfect" not in perfect
    single = Reference(digits, [Counting()], device=CPU, cache_dir=tmp_path).perfect(700)
    assert single == {"classifier_error": pytest.approx(0.1)}


def test_a_fixed_part_is_a_function_of_the_sizes_alone(digits):
    part = fixed_part(digits, 100)
    train, test = part.of(digits.train, "train"), part.of(digits.test, "test")
    assert train[:5].tolist() == [39, 49, 51, 55, 65]  # of the smallest SHA-256 of their number
    assert len(set(train)) == 100
    assert (np.diff(train) > 0).all()
    assert len(test) == round(len(digits.test) * 100 / len(digits.train))  # the same share
    larger = fixed_part(digits, 200).of(digits.train, "train")
    assert set(train) < set(larger)
    assert fixed_part(digits, None) is fixed_part(digits, len(digits.train)) is WHOLE


class Further(Counting):
    """Another extractor with the same weights."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "further"


def test_only_extractors_after_the_first_are_compared_with_a_part(digits, tmp_path):
    first, further = Counting(), Further()
    both = {"device": CPU, "cache_dir": tmp_path}
    reference = Reference(digits, [first, further], **both, further_images=100)
    part = fixed_part(digits, 100)
    whole = [reference.train(first).features, reference.test(first).features]
    assert [len(features) for features in whole] == [len(digits.train), len(digits.test)]
    for name, features, split in (
        ("train", reference.train(further).features, digits.train),
        ("test", reference.test(further).features, digits.test),
    ):
        expected = whole[name == "test"][part.of(split, name)]
        torch.testing.assert_close(features, expected)
    assert further.seen == 100 + round(len(digits.test) * 100 / len(digits.train))
    assert len(reference.nearest(further)) == 100
    assert reference.size(first) == len(digits.train)
    assert reference.size(further) == 100
    assert reference_size(reference) == f"{len(digits.train)} further:100"
    alone = Reference(digits, [Further()], **both, further_images=100)
    assert reference_size(alone) == str(len(digits.train))


def test_known_bad_samples_of_a_part_are_made_of_its_images(digits, tmp_path):
    first, further = Counting(), Further()
    reference = Reference(
        digits, [first, further], device=CPU, cache_dir=tmp_path, further_images=500
    )
    part = fixed_part(digits, 500)
    chosen = known_bad(digits, part)
    assert chosen is not None
    assert set(chosen.train) <= set(part.of(digits.train, "train"))
    assert set(chosen.test) <= set(part.of(digits.test, "test"))
    np.testing.assert_array_equal(part.of(digits.train, "train")[chosen.train_rows], chosen.train)
    spots = reference.blind_spots(further)
    seen = further.seen
    assert reference.blind_spots(further) == spots  # kept on disk
    assert further.seen == seen


def test_copies_are_searched_among_the_images_trained_on(digits, tmp_path):
    """The references of quality and all held-out features stay those of the whole data."""
    few, extractor = few_images(digits, 100), Counting()
    whole = Reference(digits, [extractor], device=CPU, cache_dir=tmp_path)
    reference = Reference(few, [extractor], device=CPU, cache_dir=tmp_path)
    features = whole.train(extractor).features[few.trained_on]
    assert torch.equal(reference.trained(extractor).features, features)
    assert torch.equal(whole.trained(extractor).features, whole.train(extractor).features)
    assert torch.equal(reference.train(extractor).features, whole.train(extractor).features)
    apart = torch.cdist(features.double(), features.double()).fill_diagonal_(torch.inf)
    nearest = reference.nearest(extractor)
    assert nearest.shape == (100,)
    torch.testing.assert_close(nearest.double(), apart.amin(1), rtol=1e-3, atol=1e-3)
    assert whole.nearest(extractor).shape == (1097,)
    closeness = held_out_closeness(features, whole.test(extractor).features)
    torch.testing.assert_close(reference.closeness(extractor), closeness)


@pytest.mark.parametrize(("trained_on", "searched"), [(100, 100), (1000, None)])
def test_a_further_extractor_searches_the_images_trained_on_in_its_part(
    digits, tmp_path, trained_on, searched
):
    """All of them if they are fewer than its part, otherwise those within it."""
    few, first, further = few_images(digits, trained_on), Counting(), Counting()
    further.name = "further"
    options = {"device": CPU, "cache_dir": tmp_path, "further_images": 300}
    reference = Reference(few, [first, further], **options)
    found = reference.trained(further).features
    every = Reference(digits, [first], device=CPU, cache_dir=tmp_path).train(first).features
    part = fixed_part(digits, 300).indices["train"]
    wanted = few.trained_on if searched else part[np.isin(part, few.trained_on)]
    torch.testing.assert_close(found, every[wanted], rtol=1e-4, atol=1e-5)
    assert len(found) == (searched or len(wanted))
    assert 200 < len(wanted) <= 300 or searched
