"""Labelled samples for semi-supervised models come from the training split alone."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.dataset import Dataset, Split, gather, proportional
from bench.data.sources import load_digits
from models.base import Batch

CLASSES = 4


def numbered(n: int = 24, labels: np.ndarray | None = None, classes: int = CLASSES) -> Dataset:
    """Images that name themselves: each holds its index; those held out begin at 100."""
    splits = []
    for first in (0, 100):
        indices = np.arange(first, first + n, dtype=np.uint8)
        images = np.broadcast_to(indices[:, None, None, None], (n, 1, 2, 2))
        own = np.random.default_rng(0).permutation(n) % CLASSES if labels is None else labels
        splits.append(Split(images, own.astype(np.int64)))
    return Dataset("numbered", *splits, tuple("abcdef"[:classes]), False, "0" * 16)


def labelled(dataset: Dataset, n: int, *, uniform: bool = True) -> Batch:
    function = dataset.spec().labelled
    assert function is not None
    return function(n, uniform=uniform)


def named(batch: Batch) -> list[int]:
    """Indices that the images hold."""
    return ((batch.x[:, 0, 0, 0] + 1) * 127.5).round().long().tolist()


@pytest.mark.parametrize("n", [4, 8, 24])
def test_every_class_has_as_many_and_each_its_first_of_the_train_split(n):
    dataset = numbered()
    batch = labelled(dataset, n)
    labels = dataset.train.labels
    assert batch.y is not None
    assert labels is not None
    assert batch.y.bincount(minlength=CLASSES).tolist() == [n // CLASSES] * CLASSES
    expected = []
    counts = dict.fromkeys(range(CLASSES), 0)
    for index, label in enumerate(labels.tolist()):
        counts[label] += 1
        if counts[label] <= n // CLASSES:
            expected.append(index)
    assert named(batch) == expected
    assert batch.y.tolist() == [labels[index] for index in expected]


@pytest.mark.parametrize(
    ("counts", "n", "expected"),
    [
        ((1800, 200), 20, [18, 2]),
        ((1800, 200), 2, [1, 1]),
        ((1990, 10), 20, [19, 1]),  # at least one of each
        ((50, 50, 50), 30, [10, 10, 10]),
        ((3, 2, 1), 6, [3, 2, 1]),  # all there are
        ((6, 3, 3), 6, [3, 2, 1]),  # ties go to the first class
    ],
)
def test_classes_are_as_frequent_as_in_the_data(counts, n, expected):
    assert proportional(np.array(counts), n).tolist() == expected


def test_more_places_never_take_one_away():
    counts = np.array([7, 13, 80, 200, 1])
    allotted = [proportional(counts, n) for n in range(5, 302)]
    assert all((after >= before).all() for before, after in pairwise(allotted))
    assert allotted[-1].tolist() == counts.tolist()


def test_labels_in_proportion_are_each_classs_first():
    labels = np.repeat(np.arange(4), (12, 4, 4, 4))
    batch = labelled(numbered(labels=labels), 8, uniform=False)
    assert batch.y is not None
    assert batch.y.tolist() == [0, 0, 0, 0, 0, 1, 2, 3]
    assert named(batch) == [0, 1, 2, 3, 4, 12, 16, 20]


def test_in_proportion_a_rare_class_needs_only_one_sample():
    labels = np.repeat(np.arange(4), (13, 1, 5, 5))
    with pytest.raises(ValueError, match="labels=12 needs 3 images of every class, and one has 1"):
        labelled(numbered(labels=labels), 12)
    batch = labelled(numbered(labels=labels), 12, uniform=False)
    assert batch.y is not None
    assert batch.y.bincount().tolist() == [7, 1, 2, 2]


def test_values_are_as_in_training_batches():
    dataset = numbered()
    batch = labelled(dataset, 8)
    assert batch.y is not None
    assert (batch.x.dtype, batch.y.dtype) == (torch.float32, torch.int64)
    assert torch.equal(batch.x, gather(dataset.train.images, np.array(named(batch))))
    assert batch.x.min() >= -1


def test_the_samples_are_always_the_same():
    first = labelled(numbered(), 8)
    torch.rand(5)
    np.random.default_rng().random()
    again = labelled(numbered(), 8)
    assert torch.equal(first.x, again.x)
    assert first.y is not None
    assert again.y is not None
    assert torch.equal(first.y, again.y)


def test_fewer_samples_are_some_of_the_more():
    dataset = numbered()
    assert set(named(labelled(dataset, 4))) < set(named(labelled(dataset, 12)))


def test_what_a_model_does_to_them_does_not_reach_the_data():
    dataset = numbered()
    batch = labelled(dataset, 4)
    assert batch.y is not None
    labels = batch.y.clone()
    batch.x.zero_()
    batch.y.zero_()
    assert max(named(labelled(dataset, 4))) > 0
    assert torch.equal(labels, labelled(dataset, 4).y)


def test_no_held_out_sample_is_labelled():
    assert max(named(labelled(numbered(), 24))) < 100


def test_digits_have_ten_of_every_class():
    digits = load_digits(
        data_root=Path(), name="digits", flip=False, image_size=8, channels=1, path=None
    )
    batch = labelled(digits, 100)
    assert batch.y is not None
    assert batch.y.bincount().tolist() == [10] * 10
    held_out = {image.tobytes() for image in digits.test.images}
    pixels = ((batch.x + 1) * 127.5).round().byte().contiguous().numpy()
    assert not any(image.tobytes() in held_out for image in pixels)


@pytest.mark.parametrize("n", [0, -4, 3, 6, 25])
def test_a_number_that_does_not_go_evenly_into_the_classes_is_refused(n):
    sentence = f"labels must be a positive multiple of the number of classes, 4, got {n}$"
    with pytest.raises(ValueError, match=sentence):
        labelled(numbered(), n)


def test_more_samples_than_a_class_has_are_refused():
    labels = np.repeat(np.arange(4), (9, 2, 9, 4))
    assert len(labelled(numbered(labels=labels), 8).x) == 8
    with pytest.raises(ValueError, match="labels=12 needs 3 images of every class, and one has 2"):
        labelled(numbered(labels=labels), 12)


def test_a_class_without_training_images_is_refused():
    with pytest.raises(ValueError, match="labels=5 needs 1 images of every class, and one has 0"):
        labelled(numbered(classes=5), 5)


@pytest.mark.parametrize("classes", [0, CLASSES], ids=["no classes", "no labels"])
def test_unlabelled_data_offer_none(classes):
    images = np.zeros((6, 1, 2, 2), np.uint8)
    split = Split(images, None if classes else np.zeros(6, np.int64))
    spec = Dataset("plain", split, split, tuple("abcd"[:classes]), False, "0" * 16).spec()
    assert spec.labelled is None


def test_labelled_samples_of_points_are_as_stored():
    points = np.random.default_rng(0).uniform(-1, 1, (9, 2)).astype(np.float32)
    split = Split(points, np.arange(9) % 3)
    batch = labelled(Dataset("points", split, split, ("a", "b", "c"), False, "0" * 16), 6)
    assert np.array_equal(batch.x.numpy(), points[:6])
