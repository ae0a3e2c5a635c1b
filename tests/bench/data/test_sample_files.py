"""Exported files of samples: other readers agree, and files are complete or absent."""

import errno
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import weakref
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.pixels import to_uint8
from bench.data.sample_files import check_target, write_samples
from bench.data.samples import read_samples
from bench.runtime.exported import MANIFEST

ABOUT = {"Synthetic": "true", "Run": "digits/gan/default/seed=0", "Sampler": "Ümläut 日本"}
N = 7


def images(channels: int = 3) -> np.ndarray:
    """(N, H, W, C) uint8."""
    return np.random.default_rng(0).integers(0, 256, (N, 4, 5, channels), np.uint8)


def batches(samples: np.ndarray) -> Iterator[np.ndarray]:
    yield samples[:3]
    yield samples[3:]


def files(path: Path) -> dict[str, bytes]:
    """Name and bytes of every PNG in a folder or zip, in the order of their names."""
    if path.is_dir():
        shown = (file for file in sorted(path.iterdir()) if file.name != MANIFEST)
        return {file.name: file.read_bytes() for file in shown}
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in sorted(archive.namelist())}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["folder", "samples.zip"])
def test_pngs_hold_the_pixels_and_say_what_made_them(tmp_path, name, channels):
    pixels = images(channels)
    write_samples(tmp_path / name, batches(pixels), N, ABOUT)
    written = files(tmp_path / name)
    assert list(written) == [f"{i:06}.png" for i in range(N)]
    for i, data in enumerate(written.values()):
        with Image.open(io.BytesIO(data)) as png:
            assert png.mode == ("L" if channels == 1 else "RGB")
            assert np.array_equal(np.asarray(png).reshape(4, 5, channels), pixels[i])
            assert png.info == {**ABOUT, "Sample": str(i)}


def test_npz_is_adms_and_says_what_made_it(tmp_path):
    write_samples(tmp_path / "a.npz", batches(images()), N, ABOUT)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert archive.files == ["arr_0", "metadata"]
        assert np.array_equal(archive["arr_0"], images())
        assert archive["metadata"].tolist() == [f"{key}: {value}" for key, value in ABOUT.items()]


def test_npy_holds_points(tmp_path):
    points = np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32)
    write_samples(tmp_path / "a.npy", batches(points), N, ABOUT)
    read = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert read.dtype == np.float32
    assert np.array_equal(read, points)


@pytest.mark.parametrize("name", ["folder", "a.zip", "a.npz", "a.npy"])
def test_what_is_written_is_read_back(tmp_path, name):
    path = tmp_path / "new" / name
    write_samples(path, batches(images()), N, ABOUT)
    stored = read_samples((3, 4, 5), path=str(path))
    read = to_uint8(stored.gather(torch.arange(stored.size))).permute(0, 2, 3, 1)
    assert np.array_equal(read.numpy(), images())


@pytest.mark.parametrize("name", ["folder", "a.zip", "a.npz", "a.npy"])
def test_the_same_samples_give_the_same_bytes(tmp_path, name):
    for parent in ("first", "second"):
        write_samples(tmp_path / parent / name, batches(images()), N, ABOUT)
    one, two = (tmp_path / parent / name for parent in ("first", "second"))
    assert files(one) == files(two) if one.is_dir() else one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("name", ["folder", "a.zip", "a.npz", "a.npy"])
def test_a_failure_leaves_what_was_there(tmp_path, name):
    def failing() -> Iterator[np.ndarray]:
        yield images()[:3]
        raise OSError("disk full")

    path = tmp_path / name
    with pytest.raises(OSError, match="disk full"):
        write_samples(path, failing(), N, ABOUT)
    assert list(tmp_path.iterdir()) == []
    write_samples(path, batches(images()), N, ABOUT)
    before = files(path) if path.is_dir() else path.read_bytes()
    with pytest.raises(OSError, match="disk full"):
        write_samples(path, failing(), N, ABOUT)
    assert (files(path) if path.is_dir() else path.read_bytes()) == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["folder", "a.zip", "a.npz"])
def test_earlier_samples_are_replaced_on_demand_only(tmp_path, name):
    path = tmp_path / name
    write_samples(path, batches(images()), N, ABOUT)
    with pytest.raises(FileExistsError, match=r"exists: choose another --out, or give --force"):
        check_target(path, replace=False)
    check_target(path, replace=True)
    write_samples(path, iter([images()[:2]]), 2, ABOUT)
    assert read_samples((3, 4, 5), path=str(path)).size == 2
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_and_a_file_replace_each_other(tmp_path):
    path = tmp_path / "a.zip"
    path.mkdir()
    write_samples(path, batches(images()), N, ABOUT)
    assert path.is_file()
    folder = tmp_path / "folder"
    folder.touch()
    write_samples(folder, batches(images()), N, ABOUT)
    assert len(files(folder)) == N


@pytest.mark.parametrize("out", ["samples.npz", "samples.npy", "samples.zip", "samples"])
def test_one_batch_is_in_memory_at_a_time(tmp_path, out):
    """When a batch is asked for, the one before is the only other one that is left."""
    made: list[weakref.ref[np.ndarray]] = []

    def batches():
        for k in range(20):
            batch = np.full((5, 4, 4, 1), k, np.uint8)
            made.append(weakref.ref(batch))
            yield batch
            del batch
            assert sum(reference() is not None for reference in made) <= 1

    write_samples(tmp_path / out, batches(), 100, ABOUT)
    assert len(made) == 20


def test_what_no_manifest_lists_is_never_deleted(tmp_path):
    """Pictures of another program, an export of before the manifest, a changed or added file."""
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "000000.png").write_bytes(b"mine")
    with pytest.raises(
        FileExistsError, match=r"holds 000000.png, which is not part of an export, and no"
    ):
        check_target(foreign, replace=True)
    with pytest.raises(FileExistsError, match=r"000000.png"):
        write_samples(foreign, batches(images()), N, ABOUT)
    assert [file.read_bytes() for file in foreign.iterdir()] == [b"mine"]

    path = tmp_path / "out"
    write_samples(path, batches(images()), N, ABOUT)
    (path / "000007.png").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"holds 000007.png, which is not part of an export:"):
        check_target(path, replace=True)
    (path / "000007.png").unlink()
    (path / "000003.png").write_bytes(b"edited")
    with pytest.raises(FileExistsError, match=r"000003.png, which was changed since"):
        check_target(path, replace=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["foreign", "out"]


def foreign_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        data = io.BytesIO()
        Image.new("RGB", (4, 5)).save(data, "PNG")
        archive.writestr("000000.png", data.getvalue())


FOREIGN = {
    "thesis.txt": lambda path: path.write_text("mine"),
    "photographs.zip": foreign_zip,
    "weights.npz": lambda path: np.savez(path, weights=np.ones(3)),
    "notes.npz": lambda path: path.write_text("mine"),
    "weights.npy": lambda path: np.save(path, np.ones(3)),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_that_no_export_wrote_is_never_replaced(tmp_path, name):
    """Before: --force deleted thesis.txt, to put a folder of that name in its place."""
    path = tmp_path / name
    FOREIGN[name](path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=rf"{name} is not an exported file of samples"):
        check_target(path, replace=True)
    with pytest.raises(FileExistsError, match=r"choose another --out, or delete it yourself"):
        write_samples(path, batches(images()), N, ABOUT)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_picture_added_to_an_exported_zip_is_not_deleted(tmp_path):
    path = tmp_path / "a.zip"
    write_samples(path, batches(images()), N, ABOUT)
    foreign_zip(tmp_path / "mine.zip")
    with zipfile.ZipFile(path, "a") as archive, zipfile.ZipFile(tmp_path / "mine.zip") as mine:
        archive.writestr("cat.png", mine.read("000000.png"))
    with pytest.raises(FileExistsError, match=r"a.zip is not an exported file of samples"):
        check_target(path, replace=True)


@pytest.mark.parametrize("samples", [images(), images(1), np.zeros((N, 2), np.float32)])
def test_exported_arrays_are_replaced_by_force(tmp_path, samples):
    for name in ("a.npy", "a.npz"):
        write_samples(tmp_path / name, batches(samples), N, ABOUT)
        check_target(tmp_path / name, replace=True)
        write_samples(tmp_path / name, batches(samples), N, ABOUT)


def test_links_are_followed(tmp_path):
    """Before: the link was replaced by a folder, and a hidden link left beside it."""
    (tmp_path / "real").mkdir()
    for target in ("real", "new"):
        link = tmp_path / f"to-{target}"
        link.symlink_to(target)
        for _ in range(2):
            check_target(link, replace=True)
            write_samples(link, batches(images()), N, ABOUT)
        assert link.is_symlink()
        assert len(files(tmp_path / target)) == N
    assert len(list(tmp_path.iterdir())) == 4


def test_the_current_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"--out=\. is the folder that you are in"):
        check_target(Path("."), replace=False)


def test_what_comes_into_the_folder_while_samples_are_drawn_is_kept(tmp_path):
    path = tmp_path / "out"
    write_samples(path, batches(images()), N, ABOUT)
    check_target(path, replace=True)

    def slow() -> Iterator[np.ndarray]:
        yield images()
        (path / "thesis.tex").write_text("mine")

    with pytest.raises(FileExistsError, match=r"holds thesis.tex"):
        write_samples(path, slow(), N, ABOUT)
    assert (path / "thesis.tex").read_text() == "mine"
    assert len(files(path)) == N + 1


def test_a_manifest_leads_nowhere_else(tmp_path):
    path = tmp_path / "out"
    write_samples(path, batches(images()), N, ABOUT)
    (tmp_path / "thesis.tex").write_text("mine")
    listed = json.loads((path / MANIFEST).read_text())
    listed["files"]["../thesis.tex"] = hashlib.sha256(b"mine").hexdigest()[:16]
    (path / MANIFEST).write_text(json.dumps(listed))
    write_samples(path, batches(images()), N, ABOUT)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": []}', '{"files": {}}', "null"])
def test_a_manifest_that_lists_nothing_owns_nothing(tmp_path, content):
    write_samples(tmp_path / "out", batches(images()), N, ABOUT)
    (tmp_path / "out" / MANIFEST).write_text(content)
    with pytest.raises(FileExistsError, match=r"no \.export\.json that lists"):
        check_target(tmp_path / "out", replace=True)


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from bench.data.sample_files import write_samples

def drawn():
    yield np.zeros((3, 4, 5, 3), np.uint8)
    os.kill(os.getpid(), signal.SIGKILL)

write_samples(Path(sys.argv[1]), drawn(), 7, {})
"""


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@pytest.mark.parametrize("name", ["out", "a.zip", "a.npz"])
def test_what_a_killed_export_left_is_removed_by_the_next(tmp_path, name):
    mine = tmp_path / ".mine.tmp"
    mine.touch()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / name)], timeout=100)
    assert killed.returncode == -signal.SIGKILL
    left = {f".{name}.bench-lock", f".{name}.bench-partial", mine.name}
    assert set(hidden(tmp_path)) == left
    write_samples(tmp_path / "other.npy", batches(images()), N, ABOUT)
    assert hidden(tmp_path) == [mine.name]


def test_a_kill_between_two_moves_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "out"
    write_samples(path, batches(images()), N, ABOUT)
    path.rename(tmp_path / ".out.bench-former")  # as a kill after the first move leaves it

    def failing() -> Iterator[np.ndarray]:
        raise OSError("no samples")
        yield

    with pytest.raises(OSError, match="no samples"):
        write_samples(path, failing(), N, ABOUT)
    assert len(files(path)) == N
    shutil.copytree(path, tmp_path / ".out.bench-former")  # as one before the last line leaves it
    write_samples(path, batches(images()), N, ABOUT)
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_in_a_sentence(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"out cannot be written \(No space left on device\): free"):
        write_samples(tmp_path / "out", batches(images()), N, ABOUT)
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    check_target(tmp_path / "out", replace=False)
    write_samples(tmp_path / "out", batches(images()), N, ABOUT)
    assert len(files(tmp_path / "out")) == N


@pytest.mark.parametrize(
    ("name", "shape", "sentence"),
    [
        ("folder", (2,), r"points are written as .npz or .npy, not as images"),
        ("a.zip", (2,), r"points are written as .npz or .npy, not as images"),
        ("folder", (2, 8, 8), r"images of 2 channels are written as .npz or .npy"),
    ],
)
def test_samples_without_a_picture_are_refused(tmp_path, name, shape, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_target(tmp_path / name, shape, replace=False)
    check_target(tmp_path / "a.npz", shape, replace=False)
