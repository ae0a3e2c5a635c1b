"""W&B mirrors a run without ever stopping it."""

import logging
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from bench.config import LoggerSettings
from bench.runs.wandb_mirror import WandbLogger


def make(directory, mode="offline", config=None):
    (directory / "wandb-id").write_text("abc123")
    settings = LoggerSettings(mode, "bench", "sweep")
    return WandbLogger(settings, directory, "seed=0", config or {})


def test_offline_mode_writes_a_run_that_can_be_synced(tmp_path, capfd):
    import wandb

    picture = tmp_path / "grid.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(picture)
    mirror = make(tmp_path, config={"model": {"lr": 1e-4}})
    assert mirror.active
    mirror.log({"generator/loss": 0.5}, images=64)
    mirror.log_image("samples/generator", picture, images=64)
    mirror.finish()
    assert not mirror.active
    wandb.teardown()  # its service writes the file's end after finish() has returned
    (folder,) = (tmp_path / "wandb").glob("offline-run-*-abc123")
    (file,) = folder.glob("*.wandb")
    written = file.read_bytes()
    for text in (b"generator/loss", b"sweep", b"samples/generator"):
        assert text in written
    assert list(folder.rglob("*.png"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_a_broken_start_does_not_stop_the_run(tmp_path, monkeypatch, caplog, mode):
    import wandb

    def broken(**_):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(wandb, "init", broken)
    with caplog.at_level(logging.WARNING):
        mirror = make(tmp_path, mode)
        mirror.log({"loss": 1.0}, images=1)
        mirror.log_image("samples", tmp_path / "missing.png", images=1)
        mirror.finish()
    assert not mirror.active
    (record,) = caplog.records
    assert "no route to host" in record.getMessage()


class BrokenRun:
    def __init__(self):
        self.calls = 0

    def define_metric(self, *_, **__):
        pass

    def log(self, _):
        self.calls += 1
        raise OSError("disk full")

    def finish(self):
        raise OSError("disk full")


def test_an_outage_turns_the_mirror_off_with_one_warning(tmp_path, monkeypatch, caplog):
    import wandb

    run = BrokenRun()
    monkeypatch.setattr(wandb, "init", lambda **_: run)
    mirror = make(tmp_path)
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            mirror.log({"loss": 1.0}, images=step)
        mirror.finish()
    assert run.calls == 1
    assert len(caplog.records) == 1
    assert not mirror.active


def test_disabled_does_nothing_and_imports_nothing(tmp_path):
    program = """
import sys
from pathlib import Path
from bench.config import LoggerSettings
from bench.runs.wandb_mirror import WandbLogger
mirror = WandbLogger(LoggerSettings(), Path(sys.argv[1]), "n", {})
mirror.log({"loss": 1.0}, images=1)
mirror.log_image("samples", Path("missing.png"), images=1)
mirror.finish()
sys.exit("wandb" in sys.modules or "torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)]).returncode == 0
    assert not os.listdir(tmp_path)
