"""Choice of the extractor that ranks models on a user's own images."""

from dataclasses import replace

import pytest
from tiny_datasets import tiny_dataset, unlabelled

from bench.evaluation.blind_spots import BlindSpot
from bench.evaluation.extractors import imagenet
from bench.evaluation.extractors.registry import suited_extractors

OWN_GREY = replace(tiny_dataset(channels=1), own=True)
OWN_COLOUR = replace(tiny_dataset(channels=3), own=True)
SPOT = BlindSpot("precision", "uniform noise", 0.92, 0.93)


@pytest.fixture
def counts(monkeypatch):
    """Check by a table: how many blind spots each extractor has; None cannot be checked."""
    monkeypatch.setattr(imagenet, "installed", lambda: True)
    asked = []

    def check_by(numbers: dict[str, int | None]):
        def check(name: str) -> tuple[BlindSpot, ...] | None:
            asked.append(name)
            n = numbers[name]
            return None if n is None else (SPOT,) * n

        return check

    check_by.asked = asked
    return check_by


def test_an_extractor_that_sees_all_is_kept_and_no_other_one_is_built(counts):
    names = suited_extractors(OWN_COLOUR, counts({"domain": 0}))
    assert names == ("domain", "efficientnet-lite0")
    assert counts.asked == ["domain"]


def test_the_least_blind_comes_first_and_the_classifier_still_counts_classes(counts):
    assert suited_extractors(OWN_GREY, counts({"domain": 5, "patches": 1})) == ("patches", "domain")
    numbers = {"domain": 5, "efficientnet-lite0": 0, "patches": 1}
    assert suited_extractors(OWN_COLOUR, counts(numbers)) == ("efficientnet-lite0", "domain")


def test_among_equals_the_default_order_holds(counts):
    assert suited_extractors(OWN_GREY, counts({"domain": 2, "patches": 2})) == ("domain",)
    numbers = {"domain": 2, "efficientnet-lite0": 1, "patches": 1}
    assert suited_extractors(OWN_COLOUR, counts(numbers)) == ("efficientnet-lite0", "domain")


def test_not_seeing_copies_ranks_nothing(counts):
    copies = BlindSpot("nn_ratio", "near-copies", 0.53, 1.0)
    assert suited_extractors(OWN_GREY, lambda name: (copies,)) == ("domain",)


def test_too_few_images_to_tell_change_nothing(counts):
    assert suited_extractors(OWN_GREY, counts({"domain": None})) == ("domain",)


def test_standard_data_sets_are_seen_as_ever(counts):
    data = tiny_dataset(channels=1)
    assert suited_extractors(data, counts({"domain": 5, "patches": 0})) == ("domain",)
    assert counts.asked == []


def test_unlabelled_images_without_packages_are_seen_by_their_patches(counts, monkeypatch):
    monkeypatch.setattr(imagenet, "installed", lambda: False)
    own = replace(unlabelled(3), own=True)
    assert suited_extractors(own, counts({"patches": 1})) == ("patches",)


def test_what_was_chosen_is_said(counts, caplog):
    with caplog.at_level("INFO"):
        suited_extractors(OWN_GREY, counts({"domain": 5, "patches": 1}))
    assert "tiny: models are ranked by patches" in caplog.text
    assert "domain 5, patches 1" in caplog.text
