import math

import pytest
import torch

from bench.metrics import class_histogram
from bench.protocol import CLASSES


def logits_of(*classes: int, k: int = 4) -> torch.Tensor:
    return torch.eye(k)[list(classes)]


def test_keys_are_those_of_the_protocol():
    assert tuple(class_histogram(logits_of(0, 1), [1] * 4)) == CLASSES


def test_the_data_itself():
    scores = class_histogram(logits_of(0, 1, 1, 2, 2, 2, 3), torch.tensor([10, 20, 30, 10]))
    assert scores["modes"] == 4
    assert scores["class_kl"] == pytest.approx(0, abs=1e-12)
    assert scores["class_tv"] == pytest.approx(0, abs=1e-12)


def test_one_of_k_classes():
    scores = class_histogram(logits_of(2, 2, 2), [5, 5, 5, 5])
    assert scores["modes"] == 1
    assert scores["class_kl"] == pytest.approx(math.log(4))
    assert scores["class_tv"] == pytest.approx(3 / 4)


@pytest.mark.parametrize("reference", [[1, 1, 1], [1, 1, 1, 0], [[1, 1, 1, 1]]])
def test_reference_must_be_k_positive_numbers(reference):
    with pytest.raises(ValueError, match="positive"):
        class_histogram(logits_of(0), reference)


def test_no_samples():
    with pytest.raises(ValueError, match="N ≥ 1"):
        class_histogram(torch.zeros(0, 4), [1] * 4)
