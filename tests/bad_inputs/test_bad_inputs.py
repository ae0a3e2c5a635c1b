"""Every bad input gives its expected message before anything is trained."""

import gc
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import hydra
import pytest
import torch
import yaml
from bad_case import Case
from bad_comparing import RUNS
from bad_files import SPRUNG
from bad_page import AREAS, CASES, page
from in_process import bench

from bench import cache, cli, export, load
from bench.compare import cli as compare
from bench.decide import cli as deciding
from bench.decide.processes import Processes, refuse_wrong
from bench.decide.request import Grid
from bench.errors import RunError
from bench.planning import survey
from bench.run import dry_run
from bench.runtime.outlook import Planned
from bench.variant import run_directory

PAGE = Path(__file__).resolve().parents[2] / "docs" / "bad_inputs.md"

USUAL = (
    "model=mlp_gan",
    "dataset=digits",
    "evaluator.samples=10",
    "evaluator.cost_seconds=0",
    "evaluator.resamples=0",
    "budget.images=64",
    "threads=1",
)
"""What the command line says unless a case says something else."""


def overrides(case: Case, root: Path) -> list[str]:
    """The command line of a case; all that it writes stays in the folder."""
    own = [argument.format(folder=root) for argument in case.arguments]
    places = (f"results_root={root}/results", f"cache_root={root}/cache")
    named = {argument.partition("=")[0] for argument in own}
    return [usual for usual in (*USUAL, *places) if usual.partition("=")[0] not in named] + own


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the usual command."""
    return bench(*overrides(Case("", "", ()), tmp_path_factory.mktemp("trained"))).directory


def place(case: Case, root: Path, trained: Path) -> Path:
    """Copy the finished run to where the case's command will find it, spoiled."""
    own = overrides(Case("", "", ()), root)
    target = run_directory(root / "results", "digits", "mlp_gan", own, 0)
    if case.spoil is not None:
        shutil.copytree(trained, target)
        case.spoil(target)
    return target


def files(root: Path) -> dict[Path, bytes]:
    """Content of all files but locks and what is cached."""
    found = (path for path in root.rglob("*") if path.is_file() and path.name != ".lock")
    return {path: path.read_bytes() for path in found if root / "cache" not in path.parents}


@pytest.mark.parametrize("name", CASES)
def test_every_bad_input_is_one_clear_sentence(
    name: str,
    tmp_path: Path,
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    case = CASES[name]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    for variable, value in case.environment.items():
        monkeypatch.setenv(variable, value)
    case.prepare(tmp_path)
    directory = place(case, tmp_path, trained)
    before = files(tmp_path)
    if case.check is not None:
        case.check(accepted(case, tmp_path))
        assert not (tmp_path / SPRUNG).exists()
        return
    said = with_placeholders(refusal(case, tmp_path, directory, capsys), tmp_path, directory)
    assert said.startswith(case.said[:-1]) if case.said.endswith("…") else said == case.said
    assert len(said.splitlines()) == 1
    assert files(tmp_path) == before  # no results, no checkpoint, and no pickle was run


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case.program == "bench" and case.check is None]
)
def test_a_dry_run_says_the_same(
    name: str, tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    if case.own_process:
        pytest.skip("what comes before Hydra is the same code")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    case.prepare(tmp_path)
    directory = place(case, tmp_path, trained)
    before = files(tmp_path)
    arguments = overrides(case, tmp_path)
    with hydra.initialize_config_module("conf", version_base="1.3"):
        cfg = hydra.compose("config", arguments)
    with pytest.raises(RunError) as refused:
        dry_run(cfg, arguments, known={})
    said = with_placeholders(str(refused.value), tmp_path, directory)
    assert said.startswith(case.said[:-1]) if case.said.endswith("…") else said == case.said
    assert files(tmp_path) == before


def accepted(case: Case, root: Path) -> Path:
    """Run the program of a case that is no refusal: the run directory, or the prepared folder."""
    if case.program == "bench":
        return bench(*overrides(case, root)).directory
    assert compare.main([argument.format(folder=root) for argument in case.arguments]) == 0
    return root


def with_placeholders(said: str, root: Path, directory: Path) -> str:
    """What differs from machine to machine replaced by what the page explains."""
    places = {directory: "<run>", root / RUNS: "<runs>", root: "<folder>"}
    for path, placeholder in places.items():
        said = said.replace(str(path), placeholder)
    said = re.sub(r"mlp_gan/[0-9a-f]{8}/seed", "mlp_gan/<variant>/seed", said)
    return re.sub(r"stored-[0-9a-f]{8}", "stored-<hash>", said)


def refusal(case: Case, root: Path, directory: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run the case's program: the sentence on standard error."""
    arguments = [argument.format(folder=root, run=directory) for argument in case.arguments]
    if case.own_process:
        return refusal_of_process(case, arguments)
    if case.program == "bench":
        with pytest.raises(RunError) as refused:  # bench.cli shows it and exits with 2
            bench(*overrides(case, root))
        return str(refused.value)
    main = MAINS[case.program]
    capsys.readouterr()
    assert main(arguments) == case.exit_code
    shown = capsys.readouterr()
    assert shown.out == ""
    program = case.program.removesuffix(".cli")
    return shown.err.removeprefix(f"{program}: ").removesuffix("\n")


def command_line(arguments: list[str]) -> int:
    """`python -m bench`, as far as a line that is refused before any job of it gets."""
    with mock.patch.object(sys, "argv", ["bench", *arguments]), pytest.raises(SystemExit) as ended:
        cli.main()
    gc.enable()
    return ended.value.code if isinstance(ended.value.code, int) else 1


def decide(arguments: list[str]) -> int:
    """`python -m bench.decide`, with its jobs timed in this process and its progress not shown."""

    def timed(self: Processes, grids: Sequence[Grid]) -> list[tuple[Planned, ...]]:
        found, wrong = survey([grid.words for grid in grids], at_once=1, timed=True)
        refuse_wrong(wrong)
        return [outlook.runs for outlook in found]

    with mock.patch.object(Processes, "survey", timed), mock.patch.object(deciding, "_say"):
        return deciding.main(arguments)


def load_and_sample(arguments: list[str]) -> int:
    """`bench.load` of the first argument and `sample`, with keyword arguments in YAML."""
    run, loading, sampling = (*arguments, "", "")[:3]
    try:
        model = load(run, **{"device": "cpu"} | (yaml.safe_load(loading) or {}))
        model.sample(**yaml.safe_load(sampling) or {})
    except (RunError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


MAINS = {
    "bench.load": load_and_sample,
    "bench.cache": cache.main,
    "bench.cli": command_line,
    "bench.compare": compare.main,
    "bench.decide": decide,
    "bench.export": export.main,
}


def refusal_of_process(case: Case, arguments: list[str]) -> str:
    """The same in a process of its own; Hydra's sentences have several lines, which are joined."""
    command = [sys.executable, "-m", case.program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == case.exit_code
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("▶")]
    return " ".join(" ".join(lines).split()).removeprefix("✗ ").removeprefix(f"{case.program}: ")


def test_the_page_is_the_table() -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page()


def test_enough_is_tried_and_every_sentence_is_there() -> None:
    assert len(CASES) == sum(map(len, AREAS.values())) >= 40  # no name twice
    assert all(case.said for case in CASES.values())
