"""`python -m bench.cache`: what is shown, what is removed and what never is."""

import fcntl
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.cache import CLASSIFIERS, DECODED, FEATURES, entries, main
from bench.data.cache import Decoded, load_cached
from bench.data.cache_root import announce, note_name
from bench.data.dataset import Dataset, Split
from bench.evaluation.extractors.base import cached_tensors, made_once

DAY = 86400


def _write(path: Path) -> None:
    path.write_bytes(b"weights")


def fill(root: Path, name: str = "cats", seed: int = 0) -> Dataset:
    """What a run leaves in the cache, by the code that runs use."""
    images = np.random.default_rng(seed).integers(0, 256, (4, 1, 8, 8), dtype=np.uint8)
    splits = Split(images, None), Split(images[:2], None)
    dataset = load_cached(name, False, (name, seed), lambda _: Decoded(*splits, ()), root)
    note_name(root, dataset.hash, name)
    for key in ((dataset.hash, "train", 4, "domain", "f" * 16), ("nearest", dataset.hash, 4)):
        cached_tensors(root, key, lambda: {"x": torch.zeros(4)})
    file = root / "classifiers" / f"{name}-{dataset.hash}-{8 * '0'}.safetensors"
    made_once(file, _write, Path.read_bytes)
    return dataset


def cache(root: Path, *arguments: str) -> int:
    return main([f"--cache-root={root}", *arguments])


def test_all_that_runs_leave_is_shown_by_data_set_and_kind(tmp_path, capsys):
    fill(tmp_path, "cats")
    fill(tmp_path, "dogs", 1)
    found = entries(tmp_path)
    assert sorted((e.dataset, e.kind) for e in found) == sorted(
        (name, kind)
        for name in ("cats", "dogs")
        for kind in (DECODED, FEATURES, FEATURES, CLASSIFIERS)
    )
    files = [p for p in tmp_path.rglob("*") if p.is_file() and p.parent.name != "names"]
    assert sum(e.size for e in found) == sum(p.stat().st_size for p in files)
    assert cache(tmp_path) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith(f"{tmp_path}: 0.0 MiB")
    assert [line.split()[0] for line in shown[2:-1]] == 3 * ["cats"] + 3 * ["dogs"]


def test_looking_does_not_count_as_use(tmp_path, capsys):
    fill(tmp_path)
    long_ago = 1_000_000_000
    for path in tmp_path.rglob("*"):
        os.utime(path, (long_ago, long_ago))
    for _ in range(2):
        assert cache(tmp_path) == 0
    assert capsys.readouterr().out.count("2001-09-09") == 2 * 3


def test_data_without_a_recorded_name_is_shown_by_its_hash(tmp_path):
    dataset = fill(tmp_path)
    (tmp_path / "names" / dataset.hash).unlink()
    assert {e.dataset for e in entries(tmp_path)} == {f"data {dataset.hash}"}


def test_clear_removes_all_and_says_so(tmp_path, capsys):
    fill(tmp_path)
    (tmp_path / "features" / "patches-0123456789abcdef.lock").touch()
    assert cache(tmp_path, "--clear") == 0
    said = capsys.readouterr().out
    assert "classifiers: 1, decoded data: 1, features and distances: 2" in said
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    fill(tmp_path)  # and runs make it again
    assert len(entries(tmp_path)) == 4


def test_clear_can_be_of_one_data_set_or_of_what_is_old(tmp_path):
    fill(tmp_path, "cats")
    fill(tmp_path, "dogs", 1)
    assert cache(tmp_path, "--clear", "cats") == 0
    assert {e.dataset for e in entries(tmp_path)} == {"dogs"}
    assert cache(tmp_path, "--clear", "--older-than=1") == 0
    assert len(entries(tmp_path)) == 4
    old = next(e for e in entries(tmp_path) if e.kind == CLASSIFIERS)
    os.utime(old.path, (old.used - 2 * DAY, old.used - 2 * DAY))
    assert cache(tmp_path, "--clear", "--older-than=1") == 0
    assert CLASSIFIERS not in {e.kind for e in entries(tmp_path)}
    assert len(entries(tmp_path)) == 3


def test_what_is_not_ours_is_never_removed(tmp_path):
    root = tmp_path / "cache"
    fill(root)
    mixed, hidden = root / (24 * "a"), root / "features" / "notes.txt"
    mixed.mkdir()
    (mixed / "meta.json").write_text("{}")
    (mixed / "thesis.tex").write_text("years of work")
    hidden.write_text("mine")
    (root / "photo.npy").write_text("mine")
    left = {mixed / "meta.json", mixed / "thesis.tex", hidden}
    assert cache(root, "--clear") == 0
    assert {p for p in root.rglob("*") if p.is_file()} == {*left, root / "photo.npy"}


def test_links_are_never_followed(tmp_path):
    root, outside = tmp_path / "cache", tmp_path / "outside"
    fill(outside)
    root.mkdir()
    before = sorted(outside.rglob("*"))
    for path in outside.iterdir():
        (root / path.name).symlink_to(path)
    assert entries(root) == []
    assert cache(root, "--clear") == 0
    assert sorted(outside.rglob("*")) == before
    (tmp_path / "link").symlink_to(outside)  # the cache itself may lie elsewhere
    assert cache(tmp_path / "link", "--clear") == 0
    assert entries(outside) == []


def test_nothing_is_removed_while_a_run_fills_the_cache(tmp_path, capsys):
    fill(tmp_path)
    lock = tmp_path / "features" / f".{24 * 'c'}.safetensors.bench-lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert cache(tmp_path, "--clear") == 2
    assert "is being filled by another process" in capsys.readouterr().err
    assert len(entries(tmp_path)) == 4
    assert cache(tmp_path, "--clear") == 0  # a leftover of a killed run holds nothing up
    assert entries(tmp_path) == []
    assert not lock.exists()


@pytest.mark.parametrize("content", [b"", b"cat", b"\xff" * 64, b"{}", b'{"hash": "../../x"}'])
def test_damaged_files_are_shown_and_removed_too(tmp_path, content):
    fill(tmp_path)
    for path in tmp_path.rglob("*.safetensors"):
        path.write_bytes(content)
    for path in tmp_path.rglob("meta.json"):
        path.write_bytes(content)
    assert len(entries(tmp_path)) == 4
    assert cache(tmp_path, "--clear") == 0
    assert entries(tmp_path) == []


def test_no_cache_is_said(tmp_path, capsys):
    assert cache(tmp_path / "none") == 0
    assert "holds nothing yet" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def test_only_the_run_that_makes_the_cache_says_where_it_is(tmp_path, caplog):
    caplog.set_level("INFO")
    announce(tmp_path / "cache")
    assert f"are kept in {tmp_path / 'cache'}: python -m bench.cache" in caplog.text
    caplog.clear()
    fill(tmp_path / "cache")
    announce(tmp_path / "cache")
    assert caplog.text == ""
