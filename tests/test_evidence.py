"""The repository's own evidence: what is committed of its runs, and that it is enough."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.compare.cli import main
from bench.runs.directory import read_status

ROOT = Path(__file__).resolve().parent.parent
TINY = [
    *("model=mlp_gan_points,ddpm_mlp", "dataset=ring8", "budget.images=640", "threads=1"),
    *("evaluator.samples=100", "evaluator.resamples=0", "evaluator.cost_seconds=0"),
]
ENDED = "docs/evidence/some/runs/digits/mlp_gan/default/seed=0"
COMMITTED = [
    f"{ENDED}/{name}"
    for name in (
        *("config.yaml", "curves.csv", "data.json", "eval.csv", "samples/checkpoint=1_x.png"),
        *("status.json", "train.csv"),
    )
]
LEFT_OUT = [
    f"{ENDED}/{name}"
    for name in (
        *(".lock", ".eval.csv.17.tmp", "checkpoints/step=10.pt", "checkpoints/best.json"),
        *("run.log", "wandb/offline-run-1/files/config.yaml"),
    )
]


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", *arguments]
    done = subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def git(*arguments: str, cwd: Path) -> list[str]:
    line = ["git", "-C", str(cwd), *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty repository that ignores what this one does."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    git("init", "-q", cwd=tmp_path)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    git("add", ".gitignore", cwd=tmp_path)
    return tmp_path


def untracked(repository: Path) -> list[str]:
    return sorted(git("ls-files", "--others", "--exclude-standard", cwd=repository))


def test_of_runs_that_are_evidence_all_but_weights_locks_and_logs_is_committed(repository):
    pages = ["docs/evidence/map.md", "docs/evidence/map/digits.png", "docs/evidence/commands.sh"]
    for name in (*COMMITTED, *LEFT_OUT, *pages):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).touch()
    assert untracked(repository) == sorted([*COMMITTED, *pages])


def test_of_the_hundreds_of_runs_of_the_map_tables_and_one_seeds_last_pictures_are(repository):
    run = "docs/evidence/map/runs/fashion_mnist_16/dcgan_small/0a17b6ce/seed={}/{}"
    kept = [run.format(seed, name) for seed in (0, 1) for name in ("eval.csv", "status.json")]
    kept += [run.format(0, "samples/checkpoint=4_x.png")]
    others = [run.format(0, name) for name in ("train.csv", "samples/checkpoint=2_x.png")]
    others += [run.format(1, "samples/checkpoint=4_x.png")]
    for name in (*kept, *others):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).touch()
    assert untracked(repository) == sorted(kept)


def test_nothing_of_what_a_user_makes_is_committed(repository):
    made = ("runs/digits/x/default/seed=0/eval.csv", "comparison/digits.md", "mine/runs/a/b.csv")
    for name in (*made, "README.md"):
        (repository / "results" / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / "results" / name).touch()
    (repository / ".venv").symlink_to(repository / "elsewhere")
    assert untracked(repository) == ["results/README.md"]


def test_runs_of_a_fresh_clone_are_finished_without_their_weights(repository, capsys):
    """Made by bench.decide, committed, cloned: nothing is trained again by any command."""
    root = "results_root=docs/evidence/small"
    decide = ("bench.decide", *TINY, root, "hours=1", "seeds=3")
    first = python(*decide, cwd=repository)
    git("add", "docs", cwd=repository)
    name = ("-c", "user.name=x", "-c", "user.email=x")
    git(*name, "commit", "-q", "-m", "evidence", cwd=repository)
    clone = repository.parent / f"{repository.name}-clone"
    git("clone", "-q", str(repository), str(clone), cwd=repository)
    runs = sorted((clone / "docs/evidence/small/runs/ring8").glob("*/*/seed=*"))
    assert len(runs) >= 4
    assert not list(clone.rglob("*.pt"))
    before = [read_status(run) for run in runs]
    assert {status.status for status in before if status} == {"finished"}

    again = python(*decide, cwd=clone)
    assert again.stderr.count("\u25b6 ") == 0  # no job was started
    verdict = next(line for line in first.stdout.splitlines() if "Of 1 question" in line)
    assert verdict in again.stdout
    swept = python("bench", "-m", *TINY, "seed=0,1", root, cwd=clone)
    assert swept.stderr.count("already finished: skipped") == 4
    assert [read_status(run) for run in runs] == before
    assert not list(clone.rglob("*.pt"))

    assert main([str(clone / "docs/evidence/small/runs"), "--out", str(clone / "out")]) == 0
    page = (clone / "out" / "ring8.md").read_text(encoding="utf-8")
    assert "mlp_gan_points" in page
    assert "ddpm_mlp" in page
    capsys.readouterr()
