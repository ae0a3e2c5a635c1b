"""Diversity on a page: beside recall and coverage, in details, and only where it was measured."""

import pytest
from synthetic_runs import PROTOCOL, scores

from bench.compare.comparison import Comparison, compare_runs
from bench.compare.protocols import ProtocolError, check_protocol
from bench.compare.read import read_runs
from bench.compare.topics.diversity import diversity_table, worst_classes
from bench.compare.topics.page import Section
from bench.compare.topics.published import published_sentences
from bench.compare.writers.markdown import page

DIVERSE = {"vendi_domain": 4.5, "fid_by_class_domain": 30.0, "fid_worst_class_domain": 60.0}
SHA = "0123456789abcdef" * 4
PUBLISHED = PROTOCOL | {"reference": f"train; FID (domain) to statistics of SHA-256 {SHA}"}


@pytest.fixture
def comparison(make_run, tmp_path) -> Comparison:
    for seed, worst in enumerate(("shirt", "coat", "shirt")):
        make_run("cgan", seed, {"generator": scores(7) | DIVERSE | {"worst_class": worst}})
        make_run("dcgan", seed, {"generator": scores(9) | {"vendi_domain": 3.5}})
    return compare_runs(read_runs([tmp_path]))


def test_the_table_shows_diversity_beside_recall_and_coverage(comparison):
    table = diversity_table(comparison, "domain")
    assert table is not None
    assert table.headings[3:] == (
        "recall ↑",
        "coverage ↑",
        "Vendi score",
        "FID by class (domain) ↓",
        "FID of the worst class (domain) ↓",
    )
    cells = {row[0].text: [cell.text.split(" ")[0] for cell in row[5:]] for row in table.rows}
    assert cells == {"cgan": ["4.50", "30", "60"], "dcgan": ["3.50", "–", "–"]}


def test_the_worst_class_is_named_with_the_seeds(comparison):
    assert worst_classes(comparison, "domain") == [
        "The worst class of cgan, generator: shirt in 2 of 3 seeds; coat in 1 of 3 seeds."
    ]
    assert worst_classes(comparison, "inception") == []


def test_a_page_has_it_in_details(comparison):
    text = page("digits", [Section(comparison)], "bench.compare")
    assert "Diversity" in text
    assert "The Vendi score is the effective number" in text
    assert "The worst class of cgan" in text
    quality = text.partition("## Over seeds")[0]
    assert "Vendi" not in quality


def test_a_page_of_runs_of_before_has_no_such_table(make_run, tmp_path):
    make_run("dcgan", 0, {"generator": scores(9)})
    comparison = compare_runs(read_runs([tmp_path]))
    assert diversity_table(comparison, "domain") is None
    assert "Diversity" not in page("digits", [Section(comparison)], "bench.compare")


def test_a_page_says_that_fid_alone_is_to_published_statistics(make_run, tmp_path):
    make_run("dcgan", 0, {"generator": scores(9)}, protocol=PUBLISHED)
    comparison = compare_runs(read_runs([tmp_path]))
    text = page("digits", [Section(comparison)], "bench.compare")
    sentence = "FID (domain), its interval and FID∞ are measured to published statistics"
    assert f"{sentence} (evaluator.reference, SHA-256 0123456789ab…)" in text
    assert SHA in text  # the protocol
    assert published_sentences(comparison, "inception") == []


def test_rows_of_another_reference_share_no_table(make_run, tmp_path):
    make_run("dcgan", 0, {"generator": scores(9)}, protocol=PUBLISHED)
    make_run("ddpm", 0, {"generator": scores(9)})
    with pytest.raises(ProtocolError, match="differ in reference cannot share a table"):
        check_protocol(read_runs([tmp_path]))
