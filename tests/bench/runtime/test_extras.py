"""Messages about missing packages say how to install them from this repository."""

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher

from bench.compare.writers.wandb import log_comparison
from bench.config import LoggerSettings
from bench.runs.wandb_mirror import WandbLogger
from bench.runtime import extras
from bench.runtime.extras import LAUNCHERS, check_launcher, install

ROOT = Path(__file__).resolve().parents[3]


def test_no_hint_names_a_package_that_is_not_published():
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    named = re.compile(r"install\b.*gan-vs-diffusion")
    read = [ROOT / name for name in tracked if Path(name).suffix in (".py", ".md", ".yaml", "")]
    assert len(read) > 100
    found = [
        str(path.relative_to(ROOT))
        for path in read
        if path.is_file()
        and path != Path(__file__)
        and named.search(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert found == []


def test_hints_name_extras_that_there_are():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra in {"imagenet", *(extra for extra, _ in LAUNCHERS.values())}:
        assert extra in project["optional-dependencies"]
        assert install(extra) == f"pip install -e '.[{extra}]' in the folder of this repository"


def test_launchers_are_those_of_the_extras():
    for name, (_, package) in LAUNCHERS.items():
        if importlib.util.find_spec(f"hydra_plugins.{package}"):
            modules = {p.__module__.split(".")[1] for p in Plugins.instance().discover(Launcher)}
            assert package in modules, name


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launcher_that_is_not_installed_says_how_to_install_it(monkeypatch, name):
    extra, _ = LAUNCHERS[name]
    check_launcher(["-m", f"hydra/launcher={name}", "seed=0,1"])  # all are in a test environment
    monkeypatch.setattr(extras, "_found", lambda package: False)
    with pytest.raises(ValueError, match="needs an optional package") as error:
        check_launcher(["-m", f"hydra/launcher={name}", "seed=0,1"])
    assert str(error.value) == f"hydra/launcher={name} needs an optional package: {install(extra)}"
    check_launcher(["-m", "seed=0,1", "hydra/launcher=basic"])


def test_a_launcher_under_torchrun_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="each of its processes would start every job"):
        check_launcher(["-m", "hydra/launcher=joblib", "seed=0,1"])
    check_launcher(["-m", "seed=0,1"])


def test_wandb_that_is_not_installed_says_how_to_install_it(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "wandb", None)
    mirror = WandbLogger(LoggerSettings("offline"), tmp_path, "seed=0", {})
    assert not mirror.active
    (record,) = caplog.records
    assert record.getMessage().endswith("(pip install wandb, or set logger.wandb=disabled)")
    with pytest.raises(OSError, match="pip install wandb"):
        log_comparison("bench", [], tmp_path)


@pytest.mark.parametrize("linked", [False, True])
def test_the_environment_of_another_checkout_is_never_installed_into(tmp_path, linked):
    checkout, environment, asked = tmp_path / "checkout", tmp_path / "environment", tmp_path / "log"
    (checkout / "scripts").mkdir(parents=True)
    for name in ("scripts/bootstrap", "pyproject.toml"):
        shutil.copy(ROOT / name, checkout / name)
    (environment / "bin").mkdir(parents=True)
    (environment / "pyvenv.cfg").touch()
    python = environment / "bin" / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >>"{asked}"\n', encoding="utf-8")
    python.chmod(0o755)
    if linked:
        (checkout / ".venv").symlink_to(environment)
    else:
        environment.rename(checkout / ".venv")
    program = "set -euo pipefail; source scripts/bootstrap; bootstrap dev"
    subprocess.run(["bash", "-c", program], cwd=checkout, check=True, timeout=60)
    assert ("pip install" in asked.read_text(encoding="utf-8")) is not linked
    assert (checkout / ".venv" / "installed-dev").exists() is not linked
