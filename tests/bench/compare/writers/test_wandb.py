"""The comparison as a W&B artifact: what is in it, and what an outage does."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.compare.cli import main
from bench.compare.writers.wandb import log_comparison

wandb = pytest.importorskip("wandb")


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    yield
    wandb.teardown()


def test_tables_and_report_are_logged_offline_and_can_be_synced(
    offline, study, tmp_path, capsys, monkeypatch
):
    logged = {}
    add = wandb.Artifact.add_file
    monkeypatch.setattr(
        wandb.Artifact,
        "add_file",
        lambda self, path, name: logged.update({name: path}) or add(self, path, name=name),
    )
    assert main([str(study), "--out", str(tmp_path), "--wandb", "a-project"]) == 0
    assert {"digits.md", "digits.csv", "digits.tex", "report/index.html"} <= set(logged)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert f"wandb sync {folder}" in " ".join(capsys.readouterr().out.split())
    view = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", "--dry-run", str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert view.returncode == 0, view.stderr
    assert folder.name in view.stdout + view.stderr


def test_who_is_not_logged_in_keeps_all_files_and_reads_one_sentence(
    study, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr("bench.runs.wandb_mirror.INIT_TIMEOUT_SECONDS", 2)
    code = main([str(study), "--out", str(tmp_path), "--wandb", "a-project"])
    wandb.teardown()
    said = capsys.readouterr().err
    assert code == 2
    assert said.splitlines()[-1].startswith("bench.compare: W&B did not take the comparison")
    assert "wandb sync" in said
    assert (tmp_path / "report" / "index.html").exists()


def test_a_file_outside_the_folder_is_a_mistake(offline, tmp_path):
    other = tmp_path / "other.md"
    other.write_text("x")
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(OSError, match="did not take the comparison"):
        log_comparison("a-project", [Path(other)], folder)
