"""A part of the training images: fixed, nested, and the same for every model and seed."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.batches import BatchStream
from bench.data.dataset import Dataset, Split, class_frequencies, content_hash, few_images, gather
from bench.data.mixtures import load_ring8
from bench.data.sources import load_digits


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits(data_root=Path())


def indices(dataset: Dataset, n: int | None) -> set[int]:
    return set(few_images(dataset, n).trained_on.tolist())


def test_a_smaller_part_lies_in_every_larger_one(digits):
    parts = [indices(digits, n) for n in (10, 100, 250, 1000, None)]
    assert [len(part) for part in parts] == [10, 100, 250, 1000, 1097]
    assert all(small < large for small, large in pairwise(parts))


def test_the_part_never_changes(digits):
    assert few_images(digits, 10).trained_on.tolist() == [
        178, 286, 342, 570, 610, 636, 671, 886, 1039, 1047,
    ]  # fmt: skip


def test_every_class_gives_its_share(digits):
    labels = digits.train.labels[few_images(digits, 250).trained_on]
    shares = np.bincount(digits.train.labels) / 1097 * 250
    assert np.abs(np.bincount(labels, minlength=10) - shares).max() <= 1


def test_points_and_data_without_labels_have_parts(digits):
    assert len(indices(load_ring8(data_root=Path()), 250)) == 250
    images = Split(digits.train.images)
    unlabelled = Dataset("grey", images, images, (), False, content_hash(images))
    assert len(indices(unlabelled, 250)) == 250


def test_held_out_data_and_hash_are_unchanged(digits):
    few = few_images(digits, 250)
    assert few.test is digits.test
    assert few.train is digits.train
    assert few.hash == digits.hash
    assert few_images(digits, 1097) is digits
    assert np.array_equal(class_frequencies(few), class_frequencies(digits))


def test_batches_hold_the_part_and_nothing_else(digits):
    few = few_images(digits, 100)
    batches = BatchStream(few.train, 20, 3, flip=False, trained_on=few.few)
    seen = Counter(np.concatenate([batches.indices(k) for k in range(10)]).tolist())
    assert seen == dict.fromkeys(few.trained_on.tolist(), 2)
    expected = gather(digits.train.images, batches.indices(4))
    assert torch.equal(batches(4).x, expected)


def test_labelled_samples_come_from_the_part(digits):
    few = few_images(digits, 100)
    labelled = few.spec().labelled
    assert labelled is not None
    shown = gather(digits.train.images, few.trained_on)  # (100, 1, 8, 8)
    batch = labelled(50, uniform=True)
    assert all(any(torch.equal(x, each) for each in shown) for x in batch.x)
    with pytest.raises(ValueError, match="ask for fewer labels"):
        labelled(500, uniform=True)


def test_more_images_than_there_are_is_refused(digits):
    with pytest.raises(ValueError, match=r"train_images=2000, but digits has 1097 training images"):
        few_images(digits, 2000)
