"""Small versions of the trials of docs/reliability.md; each exits with 0 on success."""

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import in_process
import pytest

from scripts.reliability import appending, damaged, hostile, kills, outage
from scripts.reliability.disk_full import RUN, tmpfs, trial
from scripts.reliability.trial import compare


def test_killed_at_any_moment_a_sweep_ends_with_the_same_tables_and_weights(capsys):
    sweep = ["--models", "model=mlp_gan,dcgan_small", "--seeds", "seed=0", "--images", "8000"]
    code = kills.main(["--kills", "1", "--aimed", "1", "--longest", "2", *sweep])
    said = capsys.readouterr().out
    assert code == 0, said
    assert "2 kills, last exit code 0" in said


def test_the_check_of_kills_sees_results_that_differ(tmp_path):
    for name, seed in (("a", 0), ("b", 1)):
        run = ("model=mlp_gan", f"seed={seed}", "budget.images=512", "dataset=digits")
        more = ("evaluator.cost_seconds=0", "evaluator.samples=100", "threads=1")
        in_process.bench(*run, *more, f"results_root={tmp_path / name}")
    (found,) = (tmp_path / "b").rglob("seed=1")
    found.rename(found.with_name("seed=0"))
    agreement = compare(tmp_path / "a", tmp_path / "b")
    assert not agreement.whole
    assert agreement.equal_tensors < agreement.tensors


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A disk of its own, of 24 MiB."""
    folder = tmp_path_factory.mktemp("disk")
    try:
        with tmpfs(folder / "mounted") as path:
            yield path
    except (subprocess.CalledProcessError, FileNotFoundError, PermissionError):
        pytest.skip("no tmpfs can be mounted: that needs root")


def test_a_full_disk_is_said_in_one_sentence_and_nothing_is_lost(disk, tmp_path):
    in_process.bench(*RUN, f"results_root={tmp_path}")
    for free_kib, file in ((8, "data.json"), (1000, "pt")):
        row, good = trial(disk, tmp_path, free_kib, None)
        assert good, row
        assert row.split(" | ")[1].endswith(file)
        subprocess.run(["rm", "-rf", str(disk / "results")], check=True)


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(capsys):
    """One kind of damage: tests/bench/training/test_checkpoint.py tries all."""
    assert damaged.main(["one bit turned (1)"]) == 0, capsys.readouterr().out


def test_files_from_elsewhere_run_no_code(capsys):
    """Files whose refusal no other test holds, or that need a process of their own."""
    kinds = [
        "newest checkpoint of a run, resumed",
        "all checkpoints of a run, exported",
        "config.yaml that calls another function",
        "config.yaml that trusts a package itself",
        "config.yaml that calls through a trusted package",
        "config.yaml whose cache lies elsewhere",
        "config.yaml with a Python object",
    ]
    assert hostile.main(kinds) == 0, capsys.readouterr().out


READER = """
import pathlib, pickle, sys
if sys.argv[2] == "trusts":
    pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
print(sys.argv[3], file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("reader", "says", "seen"),
    [
        ("trusts", "file.pkl is damaged", "YES | 0 | file.pkl is damaged"),
        ("refuses", "the disk is full", "no | 0 | the disk is full"),
        ("refuses", "Traceback: file.pkl is damaged", None),
        ("refuses", "file.pkl is damaged", "no | 0 | file.pkl is damaged"),
    ],
)
def test_the_check_of_hostile_files_sees_code_that_runs_and_other_errors(
    tmp_path, reader, says, seen
):
    run = tmp_path / "results" / "seed=0"
    run.mkdir(parents=True)
    (run / "status.json").touch()

    def prepare(run: Path, mark: Path, work: Path) -> list[str]:
        (work / "file.pkl").write_bytes(pickle.dumps(hostile.Mark(mark)))
        return [sys.executable, "-c", READER, str(work / "file.pkl"), reader, says]

    row, good = hostile.attempt(hostile.Trial(prepare, "damaged"), tmp_path)
    assert seen in (None, row)
    assert good == (reader == "refuses" and says == "file.pkl is damaged")


def test_a_file_that_an_earlier_kill_left_is_not_taken_for_one_being_written(tmp_path):
    run = tmp_path / "seed=0" / "checkpoints"
    run.mkdir(parents=True)
    left = run / ".step=1.7.partial"
    left.touch()
    started = left.stat().st_mtime
    assert kills.is_saving(tmp_path, started)
    assert not kills.is_saving(tmp_path, started + 1)
    os.utime(left, (started + 2, started + 2))
    assert kills.is_saving(tmp_path, started + 1)


def test_a_run_goes_on_without_weights_and_biases(capsys):
    assert outage.main(["connection refused"]) == 0, capsys.readouterr().out


def test_eight_processes_lose_no_row(capsys):
    assert appending.main(["--rows", "100"]) == 0, capsys.readouterr().out


def test_the_checks_are_commands():
    root = Path(__file__).parents[1]
    line = [sys.executable, "-m", "scripts.reliability.kills", "--help"]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(line, cwd=root, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_the_tests_that_the_page_names_exist():
    root = Path(__file__).resolve().parents[1]
    named = re.findall(
        r"`([\w/]*test_\w+\.py)::(test_\w+)`", (root / "docs/reliability.md").read_text()
    )
    assert len(named) > 40
    for file, name in named:
        found = [path.read_text(encoding="utf-8") for path in (root / "tests").rglob(file)]
        assert any(f"def {name}(" in text for text in found), f"{file}::{name}"
