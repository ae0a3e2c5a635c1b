"""How often the data set's own classifier errs, in words, and what a run says of it."""

import csv
import logging

import pytest
from in_process import bench

from bench.evaluation.classifier_error import error_note, error_sentence
from bench.evaluation.extractors.classifier import load_classifier, save_classifier
from bench.evaluation.extractors.domain import SHIPPED


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (None, ""),
        (float("nan"), ""),
        (0.0, "classifier error 0 %"),
        (0.0093, "classifier error 0.93 %"),
        (0.1, "classifier error 10 %"),
        (0.29, "classifier error 29 % ⚠"),
        (1.0, "classifier error 100 % ⚠"),
    ],
)
def test_the_note_warns_above_ten_percent_and_says_nothing_of_what_is_unknown(error, note):
    assert error_note(error) == note
    sentence = error_sentence("domain", error, ["domain"])
    assert bool(sentence) == bool(note)
    assert sentence.startswith("⚠") == note.endswith("⚠")
    assert note.removesuffix(" ⚠").removeprefix("classifier error ") in sentence


def test_a_second_extractor_is_asked_for_only_where_there_is_none():
    assert error_sentence("domain", 0.29, ["domain"]).endswith(
        "compare by others as well (evaluator.extractor=[domain,patches])."
    )
    both = error_sentence("domain", 0.29, ["domain", "patches"])
    assert both.endswith("so compare by FID (patches) as well.")


@pytest.mark.parametrize(
    ("accuracy", "level", "said"),
    [
        ("0.95", logging.INFO, "misclassifies 5 % of held-out images."),
        ("0.71", logging.WARNING, "misclassifies 29 % of held-out images, more than 10 %: "),
    ],
)
def test_a_run_says_how_often_the_classifier_behind_its_fid_errs(
    accuracy, level, said, tmp_path, caplog
):
    caplog.set_level(logging.INFO)
    classifier, metadata = load_classifier(SHIPPED / "digits.safetensors")
    weights = tmp_path / "weights.safetensors"
    save_classifier(weights, classifier, metadata | {"test_accuracy": accuracy})
    made = bench(
        "model=real",
        "dataset=digits",
        "evaluator.samples=10",
        "evaluator.resamples=0",
        f"evaluator.weights.domain={weights}",
        f"results_root={tmp_path}/results",
        f"cache_root={tmp_path}/cache",
    )
    (record,) = [r for r in caplog.records if "misclassifies" in r.getMessage()]
    assert record.levelno == level
    assert said in record.getMessage()
    with (made.directory / "eval.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["classifier_error"]) == pytest.approx(1 - float(accuracy))
