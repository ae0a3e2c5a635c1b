"""Concurrent readers of a run directory, and file systems without locks."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from bench.errors import RunError, RunInUseError, one_sentence
from bench.runs.directory import NO_LOCKS, RunDirectory, Status
from bench.schema import eval_columns


@pytest.fixture
def run(tmp_path):
    with RunDirectory(tmp_path / "digits" / "seed=0") as directory:
        yield directory


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def copy(tmp_path):
    """A run that was copied without its lock and empty folders, and may not be written."""
    path = tmp_path / "copy"
    with RunDirectory(path) as run:
        run.append_eval([{"checkpoint": 1, "sampler": "ddim-50"}], eval_columns(("domain",)))
        run.write_status(Status("finished", step=3))
    for left_out in (run.samples, run.checkpoints):
        left_out.rmdir()
    (path / ".lock").unlink()
    path.chmod(0o555)
    yield path
    path.chmod(0o755)


def test_a_reader_creates_nothing(copy, monkeypatch):
    """Nor would it where permissions do not hold, as for root: what writes is taken away."""
    before = contents(copy)

    def refuse(*arguments, **options):
        raise PermissionError("read-only file system")

    for name in ("mkdir", "replace", "ftruncate", "write"):
        monkeypatch.setattr(os, name, refuse)
    with RunDirectory(copy, reading=True) as one, RunDirectory(copy, reading=True) as other:
        assert len(one.eval_rows()) == len(other.eval_rows()) == 1
        assert one.status == Status("finished", step=3)
    monkeypatch.undo()
    assert contents(copy) == before
    assert sorted(path.name for path in copy.iterdir()) == ["eval.csv", "status.json"]


def test_a_reader_of_a_run_that_is_not_there_creates_nothing(tmp_path):
    with RunDirectory(tmp_path / "missing", reading=True) as run:
        assert run.status is None
        assert run.eval_rows() == []
    assert list(tmp_path.iterdir()) == []


def test_readers_share_a_run_and_writers_do_not(run):
    with pytest.raises(RunInUseError, match=f"in use by process {os.getpid()} on "):
        RunDirectory(run.path, reading=True)
    run.close()
    with (
        RunDirectory(run.path, reading=True),
        RunDirectory(run.path, reading=True),
        pytest.raises(RunInUseError, match=f"in use by process {os.getpid()} on "),
    ):
        RunDirectory(run.path)
    RunDirectory(run.path).close()


@pytest.mark.parametrize("code", NO_LOCKS, ids=errno.errorcode.get)
@pytest.mark.parametrize("reading", [False, True], ids=["writing", "reading"])
def test_a_file_system_without_locks_is_named_with_the_remedy(run, monkeypatch, code, reading):
    run.close()
    descriptors = len(os.listdir("/proc/self/fd"))

    def refuse(descriptor, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RunError) as error, one_sentence():
        RunDirectory(run.path, reading=reading)
    assert not error.value.in_use
    assert str(error.value) == (
        f"{run.path} cannot be locked ({os.strerror(code)}): the file system must support flock "
        "(Lustre: mount it with -o flock)"
    )
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_other_errors_of_a_lock_stay_what_they_are(run, monkeypatch):
    run.close()

    def refuse(descriptor, operation):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="Input/output error") as error:
        RunDirectory(run.path)
    assert error.value.errno == errno.EIO
