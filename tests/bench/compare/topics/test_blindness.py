"""Blind spots on a page: they are stated, and nothing in such a column is marked best."""

import csv

import pytest
from synthetic_runs import FLOOR, costs, scores

from bench.compare.comparison import Comparison, compare_runs
from bench.compare.read import read_runs
from bench.compare.topics.blindness import (
    blind_columns,
    blind_sentences,
    blind_to,
    classifier_error,
    error_sentences,
)
from bench.compare.topics.page import Section
from bench.compare.topics.recommendation import BLIND_RANKING, recommendation
from bench.compare.writers.csv import to_frame
from bench.compare.writers.markdown import page
from bench.compare.writers.terminal import make_console, show
from bench.evaluation.blind_spots import BlindSpot
from bench.schema import BLIND, shown_in

NOISE = (
    "precision of uniform noise 0.92, of real data 0.919; "
    "precision of Gaussian noise 0.97, of real data 0.919"
)
SENTENCE = (
    "In the features of domain, precision does not separate uniform noise (0.92) and Gaussian "
    "noise (0.97) from held-out images (0.919): a good value is no evidence of quality here, and "
    "none is bold."
)


@pytest.fixture
def compare(make_run, tmp_path):
    """A comparison of a GAN with a diffusion model that still draws noise, and of held-out data."""

    def made(blind: str, error: float | None = 0.29) -> Comparison:
        extra = {f"{BLIND}domain": blind, "classifier_error": error}
        gan = scores(5.0, precision=0.7) | costs(1, 0.7) | extra
        noise = scores(80.0, precision=0.95) | costs(50, 31.4) | extra
        make_run("dcgan_small", 0, {"generator": gan})
        make_run("ddpm_small", 0, {"ddim-50": noise})
        real = scores(0.1, precision=0.92) | {"nfe": 0} | extra
        make_run("real", 0, {"real": real}, protocol=FLOOR)
        return compare_runs(read_runs([tmp_path / "runs"]))

    return made


def text_of(comparison: Comparison) -> str:
    return page("digits", [Section(comparison)], "python -m bench.compare")


def bold(text: str, column: str) -> set[str]:
    """Bold values of a column of the first table, without the asterisks."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    at = next(k for k, heading in enumerate(cells[0]) if heading.startswith(column))
    found = {row[at].strip() for row in cells[2:5]}
    return {value.strip("*") for value in found if value.startswith("**")}


def test_nothing_is_bold_where_noise_looks_real(compare):
    text = text_of(compare(NOISE))
    assert bold(text, "precision") == set()
    assert bold(text, "FID") == {"5 ± –"}
    assert SENTENCE in text


def test_what_an_extractor_sees_is_bold(compare):
    text = text_of(compare("none"))
    assert bold(text, "precision") == {"0.950 ± –"}
    assert "does not separate" not in text


ERRS = "FID (domain) rests on a classifier of the data's own classes, which misclassifies {} % of"


def test_how_often_the_classifier_errs_stands_below_every_table_of_its_fid(compare):
    comparison = compare("none", 0.05)
    for heading in ("Quality", "Bias and memorisation"):
        table = text_of(comparison).split(f"## {heading}")[1].split("\n## ")[0]
        assert f"\n- {ERRS.format(5)} held-out images.\n" in table
    assert "⚠" not in text_of(comparison)
    assert not any(ERRS.format(5) in sentence for sentence in recommendation(comparison))


def test_a_classifier_that_often_errs_is_warned_of_in_the_answer_too(compare):
    comparison = compare("none", 0.29)
    assert f"\n- ⚠ {ERRS.format(29)} held-out images, more than 10 %" in text_of(comparison)
    (warning,) = [s for s in recommendation(comparison) if s.startswith("⚠")]
    assert ERRS.format(29) in warning
    assert "evaluator.extractor=[domain,patches]" in warning


def test_runs_that_recorded_no_error_say_nothing_of_it(compare):
    comparison = compare("none", None)
    assert "misclassifies" not in text_of(comparison)
    assert classifier_error(comparison, "domain") is None


def test_other_extractors_rest_on_no_classifier_of_the_data(compare):
    comparison = compare("none", 0.29)
    assert error_sentences(comparison, "inception") == []
    assert classifier_error(comparison, "domain") == 0.29


def test_a_blind_fid_is_bold_in_no_table(compare):
    comparison = compare("fid of Gaussian noise 0.11, of real data 0.1")
    follow = {"fid_infinity_domain", "fid_by_class_domain", "fid_worst_class_domain"}
    assert blind_columns(comparison) == {"fid_domain", *follow}
    text = text_of(comparison)
    assert bold(text, "FID") == set()
    for heading in ("Equal sampling cost", "Bias and memorisation"):
        table = text.split(f"## {heading}")[1].split("\n## ")[0]
        assert "**" not in table


def test_runs_say_which_metrics_are_blind_to_what(compare):
    spots = blind_to(compare(NOISE), "domain")
    assert spots == {
        "precision": (
            BlindSpot("precision", "uniform noise", 0.92, 0.919),
            BlindSpot("precision", "Gaussian noise", 0.97, 0.919),
        )
    }


def test_kid_is_said_in_the_units_of_the_tables(compare):
    comparison = compare("kid of Gaussian noise 0.0021, of real data 0.002")
    (sentence,) = blind_sentences(comparison, "domain", shown_in("quality"))
    assert "KID does not separate Gaussian noise (2.1) from held-out images (2)" in sentence


def test_the_terminal_says_it(compare, capsys):
    show(make_console(), compare(NOISE))
    said = " ".join(capsys.readouterr().out.split())
    assert "does not separate uniform noise (0.92)" in said
    assert f"⚠ {ERRS.format(29)} held-out images" in said


def test_the_table_for_machines_holds_it(compare):
    assert set(to_frame(compare(NOISE))[f"{BLIND}domain"]) == {NOISE}


def test_runs_of_before_the_check_say_nothing(compare, tmp_path):
    compare(NOISE)
    for file in (tmp_path / "runs").rglob("eval.csv"):
        with file.open(newline="") as opened:
            rows = list(csv.reader(opened))
        at = rows[0].index(f"{BLIND}domain")
        with file.open("w", newline="") as opened:
            csv.writer(opened).writerows(row[:at] + row[at + 1 :] for row in rows)
    comparison = compare_runs(read_runs([tmp_path / "runs"]))
    assert blind_to(comparison, "domain") == {}
    assert bold(text_of(comparison), "precision") == {"0.950 ± –"}


def test_the_answer_does_not_recommend_by_a_blind_fid(compare):
    said = recommendation(compare("fid of uniform noise 0.2, of real data 0.1"))
    assert BLIND_RANKING in said
    assert any("FID does not separate uniform noise" in sentence for sentence in said)
    assert BLIND_RANKING not in recommendation(compare(NOISE))
