"""docs/own_models.md, followed: its files written, its commands run, in a folder of their own."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "own_models.md").read_text(encoding="utf-8")
TINY = "budget.images=64 evaluator.samples=50 evaluator.cost_seconds=0 evaluator.resamples=0"

FEW_STEPS = {
    "model=ddpm_small": "model.build.samplers=[ddim-2]",
    "model=hybrid_small": "model.build.sampler=ddim-2 model.build.steps=[1]",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory with the page's files, and with `python` and `pytest` of this process."""
    home = tmp_path_factory.mktemp("home")
    for text in (*blocks("python"), *blocks("yaml")):
        name = re.match(r"# ~/(\S+)\n", text)
        assert name, text
        (home / name[1]).parent.mkdir(parents=True, exist_ok=True)
        (home / name[1]).write_text(text)
    for name, line in (("python", ""), ("pytest", "-m pytest")):
        program = home / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {line} "$@"\n')
        program.chmod(0o755)
    (home / "work").mkdir()
    return home


def call(line: str, home: Path) -> subprocess.CompletedProcess[str]:
    """A line in a shell; in the repository where it names a test."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")} | {
        "HOME": str(home),
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": f"{home / 'mine'}:{ROOT}",
        "OMP_NUM_THREADS": "1",
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
    }
    cwd = ROOT if "tests/" in line else home / "work"
    return subprocess.run(
        ["bash", "-c", line],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_every_command_of_the_page_works(home: Path) -> None:
    setting, *commands = [line for block in blocks("bash") for line in block.splitlines()]
    assert setting == "export PYTHONPATH=~/mine"
    assert len(commands) == 6
    for line in commands:
        small = "bench model" in line or "bench --config-dir" in line
        steps = " ".join(more for model, more in FEW_STEPS.items() if model in line)
        whole = f"{line} {TINY} {steps} results_root=small" if small else line
        for run in re.findall(r"results/runs/digits/\w+/default", whole):  # TINY makes a variant
            (found,) = (home / "work" / run.replace("results", "small", 1)).parent.glob("*")
            whole = whole.replace(run, str(found))
        whole = whole.replace("results/runs", "small/runs")
        done = call(whole, home)
        assert done.returncode == 0, f"{whole}\n{done.stdout}\n{done.stderr}"
    with zipfile.ZipFile(home / "work" / "samples.zip") as samples:
        assert len([name for name in samples.namelist() if name.endswith(".png")]) == 50
    assert "my_gan" in (home / "work/small/comparison/digits.md").read_text()

    runs = home / "work" / "small" / "runs" / "digits"
    (hybrid,) = runs.glob("hybrid_small/*/seed=0")
    (alone,) = runs.glob("my_gan/*/seed=0")
    for run in (hybrid, alone):
        assert "trust" not in (run / "config.yaml").read_text()
        assert "trust" not in (run / "eval.csv").read_text()
    command = yaml.safe_load((alone / "status.json").read_text())["command"]
    assert command.startswith("python -m bench --config-dir=../mine/conf model=my_gan ")


def test_the_contract_test_sees_what_is_wrong_with_a_model(home: Path) -> None:
    net = home / "mine" / "my_models" / "net.py"
    wrong = home / "mine" / "wrong" / "net.py"
    wrong.parent.mkdir()
    wrong.write_text(net.read_text().replace("self.layers(z)", "self.layers(z).detach()"))
    file = home / "wrong_conf" / "model" / "wrong_gan.yaml"
    file.parent.mkdir(parents=True)
    text = (home / "mine/conf/model/my_gan.yaml").read_text()
    file.write_text(text.replace("my_models", "wrong").replace("my_gan", "wrong_gan"))
    line = "pytest tests/models/test_contract.py -k '8x8-labelled' --config-dir"
    done = call(f"{line} {home / 'wrong_conf'}", home)
    assert done.returncode == 1
    failed = re.findall(r"^FAILED \S+::(\w+)", done.stdout, re.MULTILINE)
    assert "test_losses_are_finite_scalars_and_reach_only_the_phase_module" in failed
    assert "test_samples_have_shape_type_and_range" not in failed
