"""What runs say of their data: every run outside sweeps, once in a sweep."""

import pytest

from bench.data.mixtures import load_ring8
from bench.runs import announcements


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
