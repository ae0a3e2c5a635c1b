"""docs/recipes_for_users.md, followed: its commands and programs are run in order, in a folder."""

import csv
import glob
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from one_process import Done, OneProcess
from PIL import Image
from sklearn.datasets import load_digits

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "recipes_for_users.md").read_text(encoding="utf-8")
HELD_OUT = 40

SMALL = {
    "budget.seconds": "budget.images=128",
    "budget.images": "budget.images=128",
    "budget.checkpoints": "budget.checkpoints=2",
    "dataset.image_size": "dataset.image_size=8",
    "evaluator.samples": f"evaluator.samples={HELD_OUT}",
    "hours": "hours=0.05",
}
"""Settings of the page, by name, and what they are here."""

MORE = ("evaluator.cost_seconds=0", "evaluator.resamples=0", "threads=1")
PATCHES = "evaluator.extractor=patches"  # quicker than the choice among extractors

OTHER = {
    "dataset=cifar10": "dataset=digits",  # a download
    "evaluator.extractor=inception": "evaluator.extractor=domain",  # a download
    "model=ddpm": "model=mlp_gan",  # hours on a CPU
    "results_root=/shared/results": "results_root=shared",
}
"""Words of the page that cannot be run here, and what is run instead."""

NOT_RUN = {
    "source .venv/bin/activate": "the environment of the tests is active",
    "pip install -e '.[imagenet,export,joblib,slurm]'": "tests install nothing",
}
"""Commands that are not run, with the reason."""


SLURM = {
    "sbatch": 'SLURM_JOB_ID=7 bash "${@: -1}" >slurm.log 2>&1 &\necho Submitted batch job 7',
    "srun": """while [[ $1 == -* ]]; do
  case $1 in --output | --error) shift ;; esac
  shift
done
exec "$@\"""",
    "sacct": "echo 'JobID|State|NodeList'; echo '7|RUNNING|here'",
}
"""Programs of a cluster, which run one job on this machine."""


class Block(NamedTuple):
    """A block of code of the page."""

    language: str
    text: str


def blocks() -> list[Block]:
    found = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [Block(*each) for each in found]


def commands(text: str) -> list[list[str]]:
    """The commands of a block, as words without comments."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def small(words: list[str]) -> list[str]:
    """Words of a command that trains, with small budgets."""
    keys = [word.partition("=")[0] for word in words]
    made = [OTHER.get(word, SMALL.get(key, word)) for word, key in zip(words, keys, strict=True)]
    added = list(MORE)
    if "evaluator.extractor" not in keys:
        added.append(PATCHES if "dataset=folder" in words else "evaluator.extractor=domain")
    if "evaluator.samples" not in keys:
        added.append(SMALL["evaluator.samples"])
    if "bench.decide" in words:
        added.append("seeds=2")
    if "experiment=families" in words:
        added.append("sweep=real")  # one job
    return [*made, *added]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the page expects: images, samples of another tool, statistics."""
    home = tmp_path_factory.mktemp("home")
    (home / "my_images").mkdir()
    digits = (load_digits().images * 15.9).astype(np.uint8)
    for k, image in enumerate(digits[: 10 * HELD_OUT]):
        Image.fromarray(image.repeat(4, 0).repeat(4, 1)).save(home / "my_images" / f"{k:03}.png")
    with zipfile.ZipFile(home / "theirs.zip", "w") as theirs:
        for k, image in enumerate(digits[-HELD_OUT:]):
            Image.fromarray(image).save(home / "image.png")
            theirs.write(home / "image.png", f"{k:03}.png")
    for name, text in SLURM.items():
        (home / "bin").mkdir(exist_ok=True)
        (home / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (home / "bin" / name).chmod(0o755)
    np.savez(home / "cifar10.npz", mu=np.zeros(64), sigma=np.eye(64))
    return home


@pytest.fixture(scope="module")
def environment(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")} | {
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "BENCH_CACHE": str(tmp_path_factory.mktemp("cache")),
        "BROWSER": "true",  # what --open calls
    }


@pytest.fixture(scope="module")
def process(home: Path, environment: dict[str, str]) -> Iterator[OneProcess]:
    process = OneProcess(home, environment)
    yield process
    process.close()


def run(words: list[str], process: OneProcess, home: Path, environment: dict[str, str]) -> Done:
    """Run a command of the page."""
    trains = {"bench", "bench.decide"} & {*words}
    words = small(words) if trains else words
    words = [each for word in words for each in sorted(glob.glob(word, root_dir=home)) or [word]]
    if words[:2] == ["python", "-m"]:
        if "--watch" in words:
            return watched(words[2:], home, environment)
        return process.command(words[2:])
    assert words[0] == "torchrun", words
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", *words[1:]]
    done = subprocess.run(
        line, cwd=home, env=environment, capture_output=True, text=True, timeout=300
    )
    return Done(done.returncode, done.stdout, done.stderr)


def watched(words: list[str], home: Path, environment: dict[str, str]) -> Done:
    """Watch until the report is written, and then interrupt, as the page says."""
    report = home / "results" / "comparison" / "report" / "index.html"
    report.unlink()
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 120
    while process.poll() is None and not report.exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    code = 0 if process.returncode == 128 + signal.SIGINT else process.returncode or 1
    return Done(code, out, err)


def reason_not_to_run(words: list[str]) -> str | None:
    return NOT_RUN.get(shlex.join(words))


def test_every_command_and_program_of_the_page_works(home, process, environment) -> None:
    ran = []
    for block in blocks():
        if name := re.match(r"# (my_\S+)\n", block.text):
            (home / name[1]).parent.mkdir(parents=True, exist_ok=True)
            (home / name[1]).write_text(block.text)
            continue
        if block.language == "python":
            program = block.text.replace("num_inference_steps=50", "num_inference_steps=2")
            done = process.program(program)
            assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
            continue
        assert block.language == "bash"
        for words in commands(block.text):
            if reason_not_to_run(words):
                continue
            begun = time.monotonic()
            done = run(words, process, home, environment)
            ran.append((time.monotonic() - begun, words))
            assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}\n{done.stderr}"
    print("\n".join(f"{seconds:5.1f} s  {shlex.join(words)[:120]}" for seconds, words in ran))
    assert len(ran) >= 20
    check_results(home)


def check_results(home: Path) -> None:
    """What the recipes promise is there."""
    page = (home / "results" / "comparison" / "my_images.md").read_text()
    for name in ("gan_r1_ema_small", "v_diffusion_small", "my_gan", "samples", "real", "best of 2"):
        assert name in page
    assert len(list((home / "winner").glob("*.png"))) == 64
    assert Image.open(home / "from_diffusers.png").size == (8, 8)
    assert r"\toprule" in (home / "paper" / "my_images.tex").read_text()
    assert (home / "slurm.log").exists()
    assert list((home / "shared" / "runs" / "digits" / "real").glob("*/seed=0/eval.csv"))
    rows = [
        row
        for file in (home / "results" / "runs" / "digits" / "mlp_gan").rglob("eval.csv")
        for row in csv.DictReader(file.open())
    ]
    assert {row["processes"] for row in rows} == {"1", "2"}
    assert any("FID (domain) to statistics of SHA-256" in row["reference"] for row in rows)


def test_a_command_and_a_program_that_fail_are_seen(process) -> None:
    done = process.command(["bench", "model=no_such_model"])
    assert done.returncode == 2
    assert "no_such_model" in done.stderr
    done = process.program("from bench import load\nload('nowhere')")
    assert done.returncode == 1
    assert "nowhere" in done.stderr.splitlines()[-1]
    assert process.program("print(2)") == (0, "2\n", "")


def test_exceptions_are_of_commands_on_the_page() -> None:
    shell = [block.text for block in blocks() if block.language == "bash"]
    lines = [words for text in shell for words in commands(text)]
    skipped = [words for words in lines if reason_not_to_run(words)]
    assert len(skipped) == len(NOT_RUN)
    for word in OTHER:
        assert any(word in words for words in lines), word
