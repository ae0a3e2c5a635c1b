"""Extractors of signals: the classifier, patches, and known bad samples to try them on."""

import numpy as np
import pytest
import torch
from tiny_signals import tiny_signals

from bench.evaluation.blind_spots import BLURRED, KINDS, MEAN, NEAR_COPIES, REPEATED, blind_spots
from bench.evaluation.extractors.base import extract
from bench.evaluation.extractors.classifier import DomainClassifier, accuracy
from bench.evaluation.extractors.classifier_training import (
    ClassifierRecipe,
    augment,
    train_classifier,
)
from bench.evaluation.extractors.domain import DomainExtractor
from bench.evaluation.extractors.known_bad import blurred, by_kind, known_bad, score_known_bad
from bench.evaluation.extractors.registry import build_extractor, default_extractors

RECIPE = ClassifierRecipe(epochs=12, batch_size=32, peak_lr=0.05, width=8, shift=3)


@pytest.fixture(scope="module")
def data():
    return tiny_signals()


@pytest.fixture(scope="module")
def classifier(data) -> DomainClassifier:
    return train_classifier(data.train, 2, recipe=RECIPE)


def test_the_classifier_tells_slow_from_fast_waves(data, classifier):
    assert accuracy(classifier, data.test) > 0.95


def test_its_features_are_of_one_dimension_and_folding_keeps_them(data, classifier):
    x = torch.from_numpy(data.test.images[:20])
    features, logits = classifier(x)
    extractor = DomainExtractor(classifier, 0.9)
    assert extractor.preprocessing == "2x24 float32"
    found = extract(extractor, [x])
    torch.testing.assert_close(found.features, features, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.logits, logits, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match=r"must be torch.float32 of shape \(2, 24\)"):
        extractor(torch.zeros(1, 2, 25))


@pytest.mark.parametrize("shape", [(1, 8), (12, 25), (3, 200)])
def test_any_length(shape):
    features, logits = DomainClassifier(shape, 7, width=4).eval()(torch.zeros(2, *shape))
    assert (features.shape, logits.shape) == ((2, 64), (2, 7))


def test_augmentation_shifts_along_the_length_and_reflects_the_ends(data):
    x = torch.from_numpy(data.train.images[:50])
    shifted = augment(x, torch.Generator().manual_seed(0), RECIPE)
    padded = torch.nn.functional.pad(x, (3, 3), mode="reflect")
    moves = {k: padded[..., 3 + k : 27 + k] for k in range(-3, 4)}
    found = [{k for k, y in moves.items() if torch.equal(y[i], shifted[i])} for i in range(50)]
    assert all(len(each) == 1 for each in found)
    assert set.union(*found) == set(moves)


def test_signals_use_their_classifier_or_patches(data):
    assert default_extractors(data) == ("domain",)
    assert default_extractors(tiny_signals(labelled=False)) == ("patches",)


def test_patch_features_are_distances_to_centres_averaged_over_quarters(data, tmp_path):
    extractor = build_extractor("patches", data, device="cpu", cache_dir=tmp_path)
    mean, whitening, centres = (
        extractor.network.get_buffer(name).double() for name in ("mean", "whitening", "centres")
    )
    x = torch.from_numpy(data.test.images[:1]).double()[0]  # (2, 24)
    codes = torch.zeros(16, 19, dtype=torch.float64)
    for at in range(19):
        z = (x[:, at : at + 6].flatten() - mean) @ whitening
        distances = (z - centres).norm(dim=1) / 12**0.5
        codes[:15, at] = (distances.mean() - distances).clamp(min=0)
        codes[15, at] = distances.mean()
    bounds = [(0, 5), (4, 10), (9, 15), (14, 19)]  # of four parts of 19, as torch pools them
    expected = torch.stack([codes[:, a:b].mean(1) for a, b in bounds], 1).flatten()
    found = extract(extractor, [torch.from_numpy(data.test.images[:1])]).features[0]
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=2e-4)
    assert extractor.preprocessing == "2x24 float32"


def test_known_bad_signals_are_what_their_names_say(data):
    chosen = known_bad(data)
    assert chosen is not None
    found = {kind: torch.cat(list(chosen.batches(kind, 30))) for kind in KINDS}
    for x in found.values():
        assert x.dtype == torch.float32
        assert x.shape == (80, 2, 24)
        assert x.abs().max() <= 1
    train = torch.from_numpy(data.train.images)
    torch.testing.assert_close(found[MEAN][0], train.mean(0), rtol=0, atol=1e-5)
    torch.testing.assert_close(found[REPEATED][0], train[chosen.train[0]], rtol=0, atol=1e-6)
    originals = train[chosen.train[:80]]
    assert (found[NEAR_COPIES] - originals).std() == pytest.approx(4 / 127.5, rel=0.1)
    assert found[BLURRED].std() < 0.8 * originals.std()


def test_blurring_is_along_the_length_alone():
    x = torch.zeros(1, 2, 16)
    x[0, 0, 8] = 1
    y = blurred(x, (2, 16))
    assert not y[0, 1].any()
    at = torch.arange(16.0)
    expected = torch.exp(-((at - 8) ** 2) / (2 * 2.0**2))
    torch.testing.assert_close(y[0, 0, 4:13] / y[0, 0, 8], expected[4:13], rtol=0.05, atol=0)


@pytest.mark.parametrize("name", ["domain", "patches"])
def test_metrics_tell_bad_signals_from_real_ones(data, classifier, tmp_path, name):
    extractor = (
        DomainExtractor(classifier)
        if name == "domain"
        else build_extractor("patches", data, device="cpu", cache_dir=tmp_path)
    )
    chosen = known_bad(data)
    train, test = (
        extract(extractor, [torch.from_numpy(np.array(part.images))])
        for part in (data.train, data.test)
    )
    bad, real = by_kind(score_known_bad(extractor, chosen, train, test))
    missed = {spot.metric for spot in blind_spots(bad, real, len(chosen.test))}
    assert "fid" not in missed
    assert name != "patches" or not missed & {"kid", "recall", "coverage"}
