"""Checkpoints: damage is always detected, and the previous checkpoint is used."""

import logging
import os
import random

import pytest
import torch

from bench.training import checkpoint
from scripts.reliability.damaged import part, turned

CPU = torch.device("cpu")


def state(step: int) -> dict:
    weights = {"network.weight": torch.full((3, 4), float(step)), "network.bias": torch.zeros(3)}
    return {"spent": {"step": step, "seconds": 0.5}, "model": weights, "ema": None}


@pytest.fixture
def folder(tmp_path):
    """Two checkpoints."""
    for step in (1, 2):
        checkpoint.save(state(step), tmp_path, step)
    return tmp_path


def loaded(folder) -> int:
    """The step of the checkpoint that is taken, all of it as it was saved."""
    found = checkpoint.load_latest(folder, CPU)
    assert found is not None
    saved = state(found["spent"]["step"])
    assert found.keys() == {"format", *saved}
    assert found["spent"] == saved["spent"]
    assert found["model"].keys() == saved["model"].keys()
    assert all(torch.equal(found["model"][name], saved["model"][name]) for name in saved["model"])
    return found["spent"]["step"]


def test_the_newest_is_taken_and_two_are_kept(folder):
    assert loaded(folder) == 2
    checkpoint.save(state(10), folder, 10)
    assert loaded(folder) == 10
    assert sorted(path.name for path in folder.iterdir()) == ["step=10.pt", "step=2.pt"]


@pytest.mark.parametrize("name", ["data.pkl", "0", "1", "byteorder", "version"])
def test_any_bit_that_turns_in_a_part_falls_back_to_the_one_before(folder, caplog, name):
    """Of data.pkl 60: torch alone would read most of them, with other names or shapes."""
    newest = folder / "step=2.pt"
    data = newest.read_bytes()
    place = part(data, name)
    bits = range(8 * place.start, 8 * place.stop)
    for bit in random.Random(0).sample(bits, min(60 if name == "data.pkl" else 8, len(bits))):
        newest.write_bytes(turned(data, bit))
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert loaded(folder) == 1, bit
        assert "step=2.pt is damaged" in caplog.text
        assert "falling back to the one before" in caplog.text
    newest.write_bytes(data)
    assert loaded(folder) == 2


def test_no_bit_that_turns_in_the_table_of_contents_passes_for_weights(folder):
    """Bits of it that no reader looks at may turn: what is loaded is whole, whichever it is."""
    newest = folder / "step=2.pt"
    data = newest.read_bytes()
    table = data.index(b"PK\x01\x02")
    compression = [8 * (at + 10) + 3 for at in entries(data)]  # stored, or deflated
    is_folder = [8 * (at + 38) + 4 for at in entries(data)]  # nothing is read: memory as it was
    others = random.Random(0).sample(range(8 * table, 8 * len(data)), 100)
    for bit in [*compression, *is_folder, *others]:
        newest.write_bytes(turned(data, bit))
        assert loaded(folder) in (1, 2), bit


def entries(data: bytes) -> list[int]:
    """Where the entries of the table of contents begin."""
    found, at = [], data.find(b"PK\x01\x02")
    while at >= 0:
        found.append(at)
        at = data.find(b"PK\x01\x02", at + 1)
    return found


def test_where_all_are_damaged_nothing_begins_anew(folder):
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"every checkpoint in .* is damaged"):
        checkpoint.load_latest(folder, CPU)


def test_a_save_that_fails_leaves_the_earlier_ones_and_no_other_file(folder, monkeypatch):
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"step=3\.pt cannot be written .*free some space"):
        checkpoint.save(state(3), folder, 3)
    monkeypatch.undo()
    assert sorted(path.name for path in folder.iterdir()) == ["step=1.pt", "step=2.pt"]
    assert loaded(folder) == 2


def test_what_a_kill_left_is_removed(folder):
    (folder / ".step=3.77.partial").write_bytes(b"half")
    assert loaded(folder) == 2
    assert not list(folder.glob(".*"))


def test_kept_weights_are_the_latest_and_no_checkpoints(folder):
    for point in (1, 3, 9):
        checkpoint.save_kept({"weights": state(point)["model"], "fid": 1 / point}, folder, point)
    assert checkpoint.kept_points(folder) == [3, 9]  # the one before, if a run goes on from there
    assert loaded(folder) == 2
    checkpoint.save(state(3), folder, 3)
    kept = checkpoint.load_kept(folder, CPU)
    assert kept is not None
    assert (kept["point"], kept["weights"]["network.weight"][0, 0].item()) == (9, 9.0)
    checkpoint.drop_kept(folder, 8)
    assert checkpoint.kept_points(folder) == [3]
    file = folder / "kept-point=3.pt"
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"kept-point=3\.pt is damaged .*: delete the run"):
        checkpoint.load_kept(folder, CPU)
    checkpoint.drop_kept(folder, 0)
    assert checkpoint.load_kept(folder, CPU) is None
