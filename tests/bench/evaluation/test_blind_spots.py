"""Blind spots: the rule and its text form."""

import math

import pytest

from bench.evaluation.blind_spots import (
    ASKED,
    GAUSSIAN,
    KINDS,
    MEAN,
    NEAR_COPIES,
    REPEATED,
    UNIFORM,
    BlindSpot,
    blind_spots,
    from_text,
    to_text,
)

REAL = {
    "fid": 0.1,
    "kid": -0.001,
    "is": 9.0,
    "precision": 0.9,
    "recall": 0.9,
    "density": 1.0,
    "coverage": 0.95,
    "authpct": 55.0,
    "nn_ratio": 1.0,
}
SEEN = dict.fromkeys(REAL, 0.0) | {"fid": 50.0, "kid": 1.0, "is": 1.0}


def spots(changes: dict[str, dict[str, float]], real=REAL, n=500) -> list[tuple[str, str]]:
    scores = {kind: SEEN | changes.get(kind, {}) for kind in KINDS}
    return [(spot.metric, spot.kind) for spot in blind_spots(scores, real, n)]


def test_an_extractor_that_sees_all_has_no_blind_spot():
    assert spots({}) == []


@pytest.mark.parametrize("n", [20, 500])
def test_noise_as_precise_as_real_data_is_a_blind_spot(n):
    """The case of a user whose own classifier gave noise a precision of 0.92 and 0.97."""
    found = spots({UNIFORM: {"precision": 0.92}, GAUSSIAN: {"precision": 0.97}}, n=n)
    assert found == [("precision", UNIFORM), ("precision", GAUSSIAN)]


def test_bad_samples_may_keep_half_of_a_score():
    assert spots({UNIFORM: {"precision": 0.44}}) == []
    assert spots({UNIFORM: {"precision": 0.46}}) == [("precision", UNIFORM)]
    assert spots({UNIFORM: {"is": 4.9}}) == []
    assert spots({UNIFORM: {"is": 5.1}}) == [("is", UNIFORM)]


def test_a_difference_within_sampling_noise_is_none():
    real = REAL | {"precision": 0.3}
    assert spots({UNIFORM: {"precision": 0.12}}, real, n=500) == []
    assert spots({UNIFORM: {"precision": 0.12}}, real, n=20) == [("precision", UNIFORM)]


def test_a_distance_must_come_a_tenth_of_the_way_to_samples_without_variety():
    assert spots({UNIFORM: {"fid": 5.2}}) == []
    assert spots({UNIFORM: {"fid": 4.9}}) == [("fid", UNIFORM)]
    assert spots({MEAN: {"kid": -0.001}}) == [("kid", MEAN)]


def test_a_metric_is_asked_only_for_what_it_is_for():
    assert spots({NEAR_COPIES: REAL}) == [("authpct", NEAR_COPIES), ("nn_ratio", NEAR_COPIES)]
    assert ("precision", REPEATED) not in spots({REPEATED: REAL})
    assert {metric for metric, _ in spots({REPEATED: REAL})} >= {"recall", "coverage", "is"}


def test_metrics_that_are_not_defined_are_not_asked():
    assert spots({UNIFORM: {"is": math.nan}}) == []
    assert spots({}, REAL | {"is": math.nan}) == []


def test_the_text_says_it_and_can_be_read():
    found = [BlindSpot("precision", UNIFORM, 0.9187, 0.93), BlindSpot("kid", MEAN, -1e-5, 2e-5)]
    text = to_text(found)
    assert text == (
        "precision of uniform noise 0.919, of real data 0.93; "
        "kid of the mean image -1e-05, of real data 2e-05"
    )
    assert from_text(text) == (
        BlindSpot("precision", UNIFORM, 0.919, 0.93),
        BlindSpot("kid", MEAN, -1e-5, 2e-5),
    )
    for metric, kinds in ASKED.items():
        every = tuple(BlindSpot(metric, kind, 0.5, 0.25) for kind in kinds)
        assert from_text(to_text(every)) == every


def test_not_checked_is_not_the_same_as_seeing_all():
    assert to_text([]) == "none"
    assert from_text("none") == ()
    assert from_text("") is None


@pytest.mark.parametrize(
    "text",
    ["perhaps", "precision of dust 1, of real data 1", "x of uniform noise 1, of real data 1"],
)
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match="names no blind spot"):
        from_text(text)


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="could not convert"):
        from_text("precision of uniform noise x, of real data 1")
