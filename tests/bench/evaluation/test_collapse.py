"""Signs of collapse and copying, each alone, and none for healthy samples."""

import pytest

from bench.evaluation.collapse import (
    SEPARATOR,
    collapse_signs,
    copying_signs,
    shows_collapse,
    shows_copying,
)
from bench.evaluation.metrics.copying import LEVEL, Copying

HEALTHY = {
    "modes": 10,
    "duplicates_domain": 0.02,
    "precision_domain": 0.7,
    "recall_domain": 0.5,
    "fid_domain": 5.0,
}


def signs(values: dict[str, float | None], earlier: tuple[float, ...] = (6.0, 4.0)) -> list[str]:
    found = collapse_signs(values, "domain", expected_modes=10, earlier_fids=earlier)
    return [sign.name for sign in found]


def test_a_healthy_model_has_none():
    assert signs(HEALTHY) == []


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"modes": 4}, "warning/modes"),
        ({"duplicates_domain": 0.3}, "warning/duplicates"),
        ({"recall_domain": 0.01}, "warning/recall"),
        ({"fid_domain": 6.1}, "warning/fid"),
    ],
)
def test_every_sign_by_itself(change, name):
    assert signs(HEALTHY | change) == [name]


def test_low_recall_of_samples_that_look_like_nothing_is_no_collapse():
    assert signs(HEALTHY | {"recall_domain": 0.0, "precision_domain": 0.0}) == []


def test_points_that_hit_no_mode_are_blurred_and_not_collapsed():
    assert signs(HEALTHY | {"modes": 3, "high_quality": 0.01}) == []
    assert signs(HEALTHY | {"modes": 3, "high_quality": 0.9}) == ["warning/modes"]


def test_the_first_point_has_no_best_to_fall_behind():
    assert signs(HEALTHY | {"fid_domain": 1e6}, earlier=()) == []


def test_what_was_not_measured_is_no_sign():
    assert signs({}) == []
    assert signs(dict.fromkeys(HEALTHY)) == []
    assert collapse_signs({"modes": 1}, "domain", expected_modes=None, earlier_fids=()) == []


def test_words_say_how_bad_it_is():
    values = {"modes": 1, "duplicates_domain": 0.62, "fid_domain": 8.0}
    found = collapse_signs(values, "domain", expected_modes=9.9, earlier_fids=[4.0])
    assert [sign.words for sign in found] == [
        "only 1 of 10 modes",
        "62% near-duplicates",
        "FID 8, 2.0 times its best (4)",
    ]
    assert [sign.value for sign in found] == [1, 0.62, 2.0]


def test_copying_is_said_in_words_once_it_is_beyond_chance():
    (sign,) = copying_signs(Copying(share=0.974, held_out=0.0038, p=LEVEL / 2))
    assert (sign.name, sign.value) == ("warning/copies", 0.974)
    assert sign.words == (
        "copies: 97% of the samples all but coincide with one training image, 0.4% of held-out "
        "images do"
    )
    assert copying_signs(Copying(share=0.974, held_out=0.0038, p=LEVEL)) == []
    assert copying_signs(None) == []


def test_words_of_a_row_say_which_of_the_two_they_are_about():
    collapse = "only 1 of 10 modes; recall 0.001 at precision 0.90"
    copies = copying_signs(Copying(1.0, 0.0, 0.0))[0].words
    words = ("", collapse, copies, SEPARATOR.join([collapse, copies]))
    assert [shows_collapse(each) for each in words] == [False, True, False, True]
    assert [shows_copying(each) for each in words] == [False, False, True, True]


def test_samples_that_look_real_to_an_extractor_that_takes_noise_for_real_are_no_sign():
    values = HEALTHY | {"recall_domain": 0.0, "precision_domain": 0.92}
    seen = {"expected_modes": 10, "earlier_fids": ()}
    assert [s.name for s in collapse_signs(values, "domain", **seen)] == ["warning/recall"]
    assert collapse_signs(values, "domain", **seen, blind={"precision"}) == []
