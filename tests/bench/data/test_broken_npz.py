"""Damaged .npz files are refused in one sentence by every reader of arrays of others."""

from pathlib import Path

import numpy as np
import pytest

from bench.data.signals import _read_npz
from bench.evaluation.published import _arrays

READERS = {
    "signals": lambda path: _read_npz(path, "the file"),
    "statistics": lambda path: _arrays(str(path), "the file"),
}
LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"


def encrypted(data: bytearray) -> None:
    """Set the flag of an encrypted entry in all headers."""
    for signature, offset in ((LOCAL, 6), (CENTRAL, 8)):
        mark(data, signature, offset, 1)


def unknown_method(data: bytearray) -> None:
    """Set a compression method that does not exist."""
    for signature, offset in ((LOCAL, 8), (CENTRAL, 10)):
        mark(data, signature, offset, 77)


def broken_stream(data: bytearray) -> None:
    """Overwrite compressed bytes of every entry."""
    start = data.find(LOCAL)
    while start >= 0:
        data[start + 60 : start + 80] = b"\xff" * 20
        start = data.find(LOCAL, start + 1)


def mark(data: bytearray, signature: bytes, offset: int, value: int) -> None:
    at = data.find(signature)
    while at >= 0:
        data[at + offset] = value
        at = data.find(signature, at + 1)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("damage", [encrypted, unknown_method, broken_stream])
def test_damage_is_one_sentence(tmp_path: Path, reader, damage) -> None:
    path = tmp_path / "x.npz"
    rng = np.random.default_rng(0)
    np.savez_compressed(path, x=rng.normal(size=(9, 1, 8)), mu=np.zeros(8), sigma=np.eye(8))
    assert READERS[reader](path)
    data = bytearray(path.read_bytes())
    damage(data)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"^the file is (not a|no) whole .*plain arrays \(.+\): "):
        READERS[reader](path)
