"""Rules of the architecture: imports, module sizes, packaging, a fast start."""

import ast
import subprocess
import sys
import tomllib
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


def test_the_bench_knows_no_family():
    assert offenders("bench", "models.gan", "models.diffusion", "conf") == {}


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
    names = ("build", "cli", "command_line", "errors", "run")
    below = ("runs/constructors", "runs/reload", "runtime/jobs")
    entries = tuple(f"bench/{name}.py" for name in (*names, *below))
    assert offenders("bench", "hydra", "omegaconf", but=entries) == {}


def test_every_module_opens_with_what_it_owns():
    modules = [*MODULES, *SCRIPTS]
    silent = [m for m in modules if not ast.get_docstring(ast.parse(m.read_text("utf-8")))]
    assert list(map(name, silent)) == []


def test_modules_are_short():
    lengths = {m: len(m.read_text("utf-8").splitlines()) for m in (*MODULES, *SCRIPTS)}
    long = {name(m): n for m, n in lengths.items() if n > MAX_LINES}
    assert long == {}


@pytest.mark.parametrize(
    "module", ["bench.cli", "bench.runs.directory", "bench.compare.cli", "bench.export"]
)
def test_what_starts_first_is_light(module):
    program = f"import sys, {module}; sys.exit(bool({{'torch', 'wandb'}} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def packaged(file: Path) -> bool:
    """Whether pyproject.toml has a pattern of package data for this file."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    package = ROOT / file.relative_to(ROOT).parts[0]
    patterns = settings["tool"]["setuptools"]["package-data"].get(package.name, [])
    return any(file in package.glob(pattern) for pattern in patterns)


def test_configurations_weights_and_figures_are_packaged():
    data = list((ROOT / "conf").rglob("*.yaml"))
    for pattern in ("*.safetensors", "*.csv"):
        data += (ROOT / "bench").rglob(pattern)
    assert {file.suffix for file in data} == {".yaml", ".safetensors", ".csv"}
    assert [name(file) for file in data if not packaged(file)] == []


def test_every_package_is_found():
    """A folder of modules without __init__.py would be missing from an installation."""
    folders = {file.parent for file in MODULES}
    assert [name(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
