"""Full disks: the message names the file, and nothing is left over or lost."""

import errno
import os
from pathlib import Path

import pytest

from bench.runs.directory import RunDirectory
from bench.runtime.atomic_files import (
    FULL,
    append,
    check_room,
    replacing,
    room_for,
    write_atomically,
)

SAID = "free some space and repeat the command, which resumes from what is saved"


def full(code: int):
    def refuse(*arguments, **options):
        raise OSError(code, os.strerror(code))

    return refuse


def test_room_is_checked_and_nothing_stays(tmp_path):
    check_room(tmp_path / "results" / "runs")
    assert list((tmp_path / "results").iterdir()) == [tmp_path / "results" / "runs"]
    assert list((tmp_path / "results" / "runs").iterdir()) == []


@pytest.mark.parametrize("code", FULL, ids=errno.errorcode.get)
def test_no_room_for_results_is_said_and_nothing_stays(tmp_path, monkeypatch, code):
    monkeypatch.setattr(Path, "write_bytes", full(code))
    with pytest.raises(OSError, match="cannot be written") as error:
        check_room(tmp_path)
    reason = os.strerror(code)
    assert str(error.value) == f"{tmp_path / '.room'} cannot be written ({reason}): {SAID}"
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        check_room(tmp_path / "file" / "runs")


def test_a_full_disk_behind_an_error_of_torch_is_said():
    """torch.save closes its archive after the error, and raises a RuntimeError of its own."""

    def save() -> None:
        try:
            full(errno.ENOSPC)()
        finally:
            raise RuntimeError("unexpected pos 64 vs 0")

    with pytest.raises(OSError, match=r"x\.pt cannot be written"), room_for(Path("x.pt")):
        save()


def test_other_errors_stay_what_they_are():
    for error in (RuntimeError("a bug"), PermissionError(errno.EACCES, "denied")):
        with pytest.raises(type(error)) as raised, room_for(Path("x")):
            raise error
        assert raised.value is error


def test_the_old_file_stays_where_the_new_one_does_not_fit(tmp_path, monkeypatch):
    file = tmp_path / "status.json"
    write_atomically(file, "old")
    monkeypatch.setattr(os, "fsync", full(errno.ENOSPC))
    with pytest.raises(OSError, match=r"status\.json cannot be written"):
        write_atomically(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_is_not_finished_replaces_none(tmp_path):
    def write_half() -> None:
        with replacing(tmp_path / "new" / "file") as temporary:
            temporary.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert list((tmp_path / "new").iterdir()) == []


def test_what_does_not_fit_is_taken_back(tmp_path, monkeypatch):
    file = tmp_path / "train.csv"
    append(file, "a\n")
    monkeypatch.setattr(os, "fsync", full(errno.ENOSPC))
    with pytest.raises(OSError, match=r"train\.csv cannot be written"):
        append(file, "b\n")
    monkeypatch.undo()
    append(file, "c\n")
    assert file.read_text() == "a\nc\n"


def test_what_a_kill_left_of_a_file_goes_when_the_run_is_opened_again(tmp_path):
    with RunDirectory(tmp_path / "run"):
        pass
    left = [tmp_path / "run" / ".status.json.7.tmp", tmp_path / "run" / "samples" / ".a.png.7.tmp"]
    for file in left:
        file.write_text("half")
    with RunDirectory(tmp_path / "run", reading=True):
        assert all(file.exists() for file in left)
    with RunDirectory(tmp_path / "run"):
        assert not any(file.exists() for file in left)
