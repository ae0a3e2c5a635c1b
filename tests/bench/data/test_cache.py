"""The cache of decoded data: always verified, never an obstacle, clean after a kill."""

import errno
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data import cache as cache_module
from bench.data.archive import open_tree
from bench.data.cache import Decoded, ImageFile, load_cached
from bench.data.dataset import Dataset, Split
from bench.data.folder import load_folder
from bench.runtime.atomic_files import building, sweep

N, SIDE = 12, 8
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 3, SIDE, SIDE), np.uint8)
LABELS = np.arange(N) % 3


def load(root: Path, labelled: bool = True, decoded: list[int] | None = None) -> Dataset:
    """Load through the cache; `decoded` gets an element for each time that this decodes."""

    def decode(allocate: Callable) -> Decoded:
        if decoded is not None:
            decoded.append(1)
        file = allocate("train", (N - 4, *IMAGES.shape[1:]))
        for i in reversed(range(N - 4)):
            file[i] = IMAGES[i]
        labels = (LABELS[:-4], LABELS[-4:]) if labelled else (None, None)
        return Decoded(Split(file.read(), labels[0]), Split(IMAGES[-4:], labels[1]), tuple("abc"))

    return load_cached("x", False, ("x", labelled), decode, root)


def entry_of(root: Path) -> Path:
    (entry,) = (path for path in root.iterdir() if not path.name.startswith("."))
    return entry


def zeroed(file: str, first: int, count: int) -> Callable[[Path], object]:
    def spoil(entry: Path) -> None:
        content = bytearray((entry / file).read_bytes())
        content[first : first + count] = bytes(count)
        (entry / file).write_bytes(content)

    return spoil


def cut(file: str, kept: int) -> Callable[[Path], object]:
    return lambda entry: os.truncate(entry / file, kept)


def replaced(old: str, new: str) -> Callable[[Path], object]:
    def spoil(entry: Path) -> None:
        meta = entry / "meta.json"
        assert old in meta.read_text()
        meta.write_text(meta.read_text().replace(old, new))

    return spoil


def replaced_bytes(file: str, old: bytes, new: bytes) -> Callable[[Path], object]:
    def spoil(entry: Path) -> None:
        content = (entry / file).read_bytes()
        assert old in content
        (entry / file).write_bytes(content.replace(old, new))

    return spoil


DAMAGE = {
    "500 zeroed bytes of images": zeroed("train_images.npy", 300, 500),
    "one byte of held-out images": zeroed("test_images.npy", 200, 1),
    "a header of zeros": zeroed("train_images.npy", 0, 128),
    "labels of zeros": zeroed("train_labels.npy", 128, 60),
    "no label file": lambda entry: (entry / "train_labels.npy").unlink(),
    "no images": lambda entry: (entry / "test_images.npy").unlink(),
    "no meta.json": lambda entry: (entry / "meta.json").unlink(),
    "empty images": cut("train_images.npy", 0),
    "empty labels": cut("train_labels.npy", 0),
    "empty meta.json": cut("meta.json", 0),
    "images cut": cut("train_images.npy", 1000),
    "labels cut": cut("test_labels.npy", 130),
    "meta.json cut": cut("meta.json", 20),
    "another class name": replaced('"b"', '"z"'),
    "another hash": replaced('"hash": "', '"hash": "0'),
    "meta.json of another kind": lambda entry: (entry / "meta.json").write_text("[]"),
    "nothing in it": lambda entry: [file.unlink() for file in entry.iterdir()],
    "images of signed bytes": replaced_bytes("train_images.npy", b"|u1", b"|i1"),
    "images of letters": replaced_bytes("test_images.npy", b"|u1", b"|S1"),
    "labels of unsigned numbers": replaced_bytes("train_labels.npy", b"<i8", b"<u8"),
    "a link to nothing in its place": lambda entry: (
        shutil.rmtree(entry),
        entry.symlink_to("nowhere"),
    ),
    "a file in its place": lambda entry: (shutil.rmtree(entry), entry.write_text("")),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_entry_is_decoded_again(tmp_path, caplog, kind):
    whole = load(tmp_path)
    DAMAGE[kind](entry_of(tmp_path))
    decoded: list[int] = []
    with caplog.at_level(logging.WARNING):
        again = load(tmp_path, decoded=decoded)
    assert len(decoded) == 1
    assert again.hash == whole.hash
    assert np.array_equal(again.train.images, IMAGES[:-4])
    assert np.array_equal(again.train.labels, LABELS[:-4])
    assert again.classes == ("a", "b", "c")
    assert [f"{entry_of(tmp_path)} is damaged (" in r.getMessage() for r in caplog.records] == [
        True
    ]
    load(tmp_path, decoded=decoded)
    assert len(decoded) == 1


@pytest.mark.parametrize("at", range(0, 128, 5))
def test_no_bit_of_a_header_ends_in_another_error(tmp_path, at):
    load(tmp_path)
    path = entry_of(tmp_path) / "test_images.npy"
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << at % 8
    path.write_bytes(content)
    assert np.array_equal(load(tmp_path).test.images, IMAGES[-4:])


def test_what_was_written_damaged_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "_hash_of", lambda *_: "0")
    with pytest.raises(OSError, match=r"was written just now and is damaged .*: check that disk"):
        load(tmp_path)


def test_a_damaged_entry_of_someone_else_is_a_sentence(tmp_path, monkeypatch):
    load(tmp_path)
    DAMAGE["no meta.json"](entry_of(tmp_path))

    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(cache_module, "remove", refuse)
    with pytest.raises(PermissionError, match=r"is damaged .* and cannot be removed \(Permission"):
        load(tmp_path)


@pytest.mark.parametrize("file", ["", "meta.json", "train_images.npy", "test_labels.npy"])
def test_an_entry_of_another_user_is_not_called_damaged(tmp_path, monkeypatch, caplog, file):
    load(tmp_path)
    entry = entry_of(tmp_path)

    def denied(method: Callable) -> Callable:
        def wrapped(path: Path, *args: object, **kwargs: object) -> object:
            if path == entry / file or (not file and path.parent == entry):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return method(path, *args, **kwargs)

        return wrapped

    monkeypatch.setattr(Path, "read_text", denied(Path.read_text))
    monkeypatch.setattr(np, "load", denied(np.load))
    decoded: list[int] = []
    with pytest.raises(PermissionError) as refused:
        load(tmp_path, decoded=decoded)
    assert str(refused.value) == (
        f"{entry} cannot be read (permission denied of {entry / (file or 'meta.json')}): have its "
        "owner make it readable, or set cache_root (or BENCH_CACHE) to a folder of your own"
    )
    assert not decoded
    assert not caplog.records
    monkeypatch.undo()
    load(tmp_path, decoded=decoded)
    assert not decoded  # the entry is as it was


def test_a_cache_that_may_not_be_looked_into_is_a_sentence(tmp_path, monkeypatch):
    stat = os.stat

    def refuse(path: object, *args: object, **kwargs: object) -> os.stat_result:
        if str(path).startswith(f"{tmp_path}/closed"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(PermissionError, match=r"cannot be written .*: set BENCH_CACHE to a folder"):
        load(tmp_path / "closed" / "cache")


def test_an_entry_is_read_once_per_process(tmp_path, monkeypatch):
    load(tmp_path)
    cache_module._hash_of.cache_clear()
    counted: list[int] = []
    real = cache_module.content_hash
    monkeypatch.setattr(cache_module, "content_hash", lambda *s: (counted.append(1), real(*s))[1])
    for _ in range(3):
        load(tmp_path)
    assert len(counted) == 1


def test_unlabelled_data_stay_so(tmp_path):
    first, again = load(tmp_path, labelled=False), load(tmp_path, labelled=False)
    assert first.train.labels is again.train.labels is None
    assert first.hash == again.hash


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    gone, live = tmp_path / "gone", tmp_path / "live"
    for name in (".gone.bench-partial", f".{'0' * 24}-abcdefgh", f".{'1' * 24}-abcdefgh", ".mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train_images.npy").write_bytes(bytes(100))
    (tmp_path / ".gone.bench-lock").touch()
    former = tmp_path / f".{'0' * 24}-abcdefgh"
    for path in (former / "train_images.npy", former):
        os.utime(path, (time.time() - 2 * 86400,) * 2)
    with building(live) as partial:
        partial.mkdir()
        load(tmp_path)
        assert partial.is_dir()
        hidden = {path.name for path in tmp_path.iterdir() if path.name.startswith(".")}
        assert hidden == {
            ".live.bench-lock",
            ".live.bench-partial",
            f".{'1' * 24}-abcdefgh",  # of an earlier version, younger than a day
            ".mine",
        }
    assert not gone.exists()


CHILD = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from bench.data.cache import Decoded, load_cached
from bench.data.dataset import Split

def decode(allocate):
    file = allocate("train", (1000, 3, 8, 8))
    print("decoding", flush=True)
    time.sleep(float(sys.argv[2]))
    images = np.zeros((4, 3, 8, 8), np.uint8)
    file.write(0, np.ones((1000, 3, 8, 8), np.uint8))
    return Decoded(Split(file.read()), Split(images), ())

print(load_cached("x", False, ("x",), decode, Path(sys.argv[1])).train.images.mean())
"""


def child(root: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(root), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_kill_while_decoding_leaves_nothing_after_the_next_start(tmp_path, how):
    process = child(tmp_path, 100)
    assert process.stdout is not None
    assert process.stdout.readline() == "decoding\n"
    process.send_signal(how)
    assert process.wait(60) == -how
    left = [path.name for path in tmp_path.iterdir()]
    assert any(name.endswith(".bench-partial") for name in left)
    load(tmp_path)  # other data
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_processes_that_start_together_decode_once(tmp_path):
    first = child(tmp_path, 3)
    assert first.stdout is not None
    assert first.stdout.readline() == "decoding\n"
    second = child(tmp_path, 3)
    sweep(tmp_path)
    assert first.communicate(timeout=60)[0] == "1.0\n"
    assert second.communicate(timeout=60)[0] == "1.0\n"  # it did not decode
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_full_disk_is_a_sentence_and_not_a_bus_error(tmp_path):
    """The files of this process may have 64 KiB: the system refuses as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def decode(allocate: Callable) -> Decoded:
        raise AssertionError(allocate("train", (1000, 3, 8, 8)))

    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with pytest.raises(OSError, match=r"cache_root=.* has no room .*: make room there, or set"):
            load_cached("x", False, ("x",), decode, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_up_while_images_are_written(tmp_path, monkeypatch):
    """File systems that cannot reserve room say so at the write."""
    root = tree(tmp_path / "pets", 80)
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    real, written = os.pwrite, []

    def pwrite(*arguments) -> int:
        written.append(1)
        if len(written) > 40:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(OSError, match=r"has no room for the decoded images \(No space left on"):
        load_folder(data_root=tmp_path, cache_root=tmp_path / "c", path=str(root))
    assert not list((tmp_path / "c").iterdir())


def test_images_that_the_disk_cannot_hold_are_refused_before_any_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 1000))
    with pytest.raises(OSError, match=r"8 images of 3x8x8 take 0.0 MiB .*smaller dataset.image"):
        load(tmp_path)
    assert not list(tmp_path.iterdir())


def test_image_files_are_written_in_any_order_and_read_back(tmp_path):
    file = ImageFile(tmp_path / "a.npy", IMAGES.shape)
    file.write(5, IMAGES[5:])
    file.write(0, IMAGES[:5].transpose(0, 1, 3, 2).copy().transpose(0, 1, 3, 2))  # not contiguous
    file.close()
    assert np.array_equal(np.load(tmp_path / "a.npy"), IMAGES)
    assert not file.read().flags.writeable
    np.save(tmp_path / "b.npy", IMAGES)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    other = ImageFile(tmp_path / "c.npy", IMAGES.shape)
    for first, images in ((11, IMAGES[:2]), (-1, IMAGES[:1]), (0, IMAGES[:, :1])):
        with pytest.raises(ValueError, match="written"):
            other.write(first, images)
    other.close()


def tree(root: Path, count: int, seed: int = 0) -> Path:
    """Grey PNGs of random pixels, all of one size in bytes and one time."""
    root.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        path = root / f"{i:03}.png"
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(path, compress_level=0)
        os.utime(path, (1e9, 1e9))
    return root


@pytest.mark.parametrize("count", [20, 300])
def test_two_folders_with_equal_names_sizes_and_times_are_two_data_sets(tmp_path, count):
    one, two = (tree(tmp_path / name, count, seed) for seed, name in enumerate("ab"))
    listed = [
        [(f.name, f.stat().st_size, f.stat().st_mtime) for f in sorted(r.iterdir())]
        for r in (one, two)
    ]
    assert listed[0] == listed[1]
    options = {"data_root": tmp_path, "cache_root": tmp_path / "c", "image_size": None}
    hashes = {load_folder(path=str(root), **options).hash for root in (one, two)}
    assert len(hashes) == 2


def test_other_data_in_the_place_of_a_folder_are_noticed(tmp_path):
    one, two = (tree(tmp_path / name, 100, seed) for seed, name in enumerate("ab"))
    before = open_tree(one).key()
    assert open_tree(one).key() == before
    one.rename(tmp_path / "c")
    two.rename(one)
    assert open_tree(one).key() != before


def test_an_edit_that_keeps_size_and_time_is_noticed(tmp_path):
    root = tree(tmp_path / "a", 300)
    before = open_tree(root).key()
    path = root / "001.png"  # not among the files whose contents are sampled
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    os.utime(path, (1e9, 1e9))
    assert open_tree(root).key() != before


def test_entries_of_earlier_versions_are_not_read(tmp_path):
    load(tmp_path)
    meta = json.loads((entry_of(tmp_path) / "meta.json").read_text())
    del meta["checksum"]  # as earlier versions wrote it
    (entry_of(tmp_path) / "meta.json").write_text(json.dumps(meta))
    decoded: list[int] = []
    load(tmp_path, decoded=decoded)
    assert len(decoded) == 1
