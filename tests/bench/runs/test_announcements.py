"""What runs say of their data: every run outside sweeps, once in a sweep."""

import logging
from dataclasses import replace

import pytest

from bench.data.dataset import Split
from bench.data.mixtures import load_ring8
from bench.runs import announcements


@pytest.fixture(autouse=True)
def heard(monkeypatch):
    """The logger is heard, also after tests of commands in this process, which quieten it."""
    ours = logging.getLogger("bench")
    before = ours.level
    monkeypatch.setattr(ours, "propagate", True)
    monkeypatch.setattr(announcements.log, "disabled", False)
    ours.setLevel(logging.INFO)
    yield
    ours.setLevel(before)


@pytest.fixture
def dataset(tmp_path):
    return load_ring8(data_root=tmp_path)


def test_runs_of_a_sweep_say_the_same_line_once(dataset, monkeypatch, caplog):
    monkeypatch.setattr(announcements, "_said", None)
    with caplog.at_level("INFO", "bench"):
        announcements.announce(dataset, trained=True)
        announcements.announce(dataset, trained=True)
        alone = len(caplog.messages)
        announcements.say_once()
        announcements.announce(dataset, trained=True)
        announcements.say_once()  # the next run
        announcements.announce(dataset, trained=True)
        announcements.announce(dataset, trained=False)
    one = alone // 2
    assert caplog.messages[:one] * 3 == caplog.messages[: 3 * one]
    assert len(caplog.messages) == 3 * one + 1  # another augmentation is another line


@pytest.mark.parametrize(
    ("samples", "held_out", "remedy"),
    [
        (
            30,
            30,
            "hold out more data (of images, in a folder test/), or set evaluator.samples=1000",
        ),
        (100, 700, "set evaluator.samples=700."),
        (499, 499, "hold out more data"),
        (500, 500, None),
        (1000, 30, None),
    ],
)
def test_too_few_scored_samples_are_warned_of_once(
    dataset, monkeypatch, caplog, samples, held_out, remedy
):
    monkeypatch.setattr(announcements, "_said", set())
    few = replace(dataset, test=Split(dataset.test.images[:held_out]))
    for _ in range(2):
        announcements.warn_of_few_samples(few, samples)
    assert [r.levelname for r in caplog.records] == ["WARNING"] * (remedy is not None)
    assert remedy is None or remedy in caplog.text
    assert remedy is None or f"FID of {samples} samples is far too high and noisy" in caplog.text
