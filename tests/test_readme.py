"""The README's results are committed results; its links and commands are valid."""

import importlib.util
import re
import shlex
from pathlib import Path
from urllib.parse import unquote

import pytest
from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from bench.command_line import expand
from bench.compare.read import read_runs
from bench.decide.request import read_command_grids, read_request
from scripts.readme_map import block

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECIPES = (ROOT / "docs" / "recipes_for_users.md").read_text(encoding="utf-8")
EVIDENCE = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
RESULT = EVIDENCE.partition("<!-- result:begin -->")[2].partition("<!-- result:end -->")[0]
MAP = README.partition("<!-- map:begin -->")[2].partition("<!-- map:end -->")[0]


PLUGINS = {
    "joblib": "hydra_plugins.hydra_joblib_launcher",
    "submitit_slurm": "hydra_plugins.hydra_submitit_launcher",
    "ray": "hydra_plugins.hydra_ray_launcher",
}


def cells(line: str) -> list[str]:
    return [cell.strip(" *") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def body(text: str) -> list[list[str]]:
    """Rows of all tables with a number in them, without headings and rules."""
    rows = [cells(line) for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if any(re.search(r"\d", cell) for cell in row[1:])]


def test_every_number_of_the_result_tables_is_a_committed_result():
    committed = [
        set(row)
        for file in sorted((ROOT / "docs" / "evidence").glob("*.md"))
        for row in body(file.read_text())
    ]
    shown = [row for row in body(RESULT) if not any("](" in cell for cell in row)]
    assert len(shown) >= 8
    for row in shown:
        wanted = {cell for cell in row[1:] if cell and cell != "–"}  # the first names the data set
        assert any(wanted <= found for found in committed), row


def test_the_answer_is_that_of_the_committed_map():
    """`scripts/readme_map.py` was run after the last runs."""
    page = (ROOT / "docs" / "evidence" / "map" / "map.md").read_text(encoding="utf-8")
    assert page.split("\n\n")[2].startswith("On ")
    assert MAP.strip() == block(read_runs([ROOT / "docs" / "evidence" / "map" / "runs"]), page)
    assert MAP.count("<img ") >= 6  # real images and five families


@pytest.mark.parametrize(
    "file",
    [
        "README.md",
        "results/README.md",
        *sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").rglob("*.md")),
    ],
)
def test_links_and_pictures_lead_somewhere(file):
    """Those in the repository, of Markdown and of HTML in it."""
    path = ROOT / file
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r"(?:src|href)=\"([^\"#]+)", text)
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (path.parent / unquote(link)).exists()] == []


def lines(text: str, module: str) -> list[str]:
    """Arguments of every whole command of a module in the code blocks of a page."""
    blocks = re.findall(r"^```(?:bash|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    found = []
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        words = shlex.split(line.removesuffix("&"), comments=True)
        if module in words and "…" not in line:
            found.append(shlex.join(words[words.index(module) + 1 :]))
    return found


def commands(module: str) -> list[str]:
    """Of README.md, docs/sweeps.md, docs/map.md and docs/recipes_for_users.md, each once.

    Those with configurations of the user's own are left out.
    """
    docs = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("sweeps.md", "map.md"))
    pages = (README, *docs, RECIPES)
    found = dict.fromkeys(line for page in pages for line in lines(page, module))
    return [line for line in found if "--config-dir" not in line]


def composed(line: str) -> list[DictConfig]:
    """The configuration of the first run of every grid of a command."""
    found = []
    with initialize_config_module("conf", version_base="1.3"):
        for words in expand(shlex.split(line)):
            overrides = [first(word) for word in words if word not in ("-m", "--dry-run")]
            found.append(compose("config", overrides, return_hydra_config=True))
    return found


def first(word: str) -> str:
    """An override with the first of its values, as Hydra's sweeper makes it."""
    override = OverridesParser.create().parse_override(word)
    if not override.is_sweep_override():
        return word
    return f"{override.get_key_element()}={next(override.sweep_string_iterator())}"


def installed(plugin: str) -> bool:
    try:
        return importlib.util.find_spec(plugin) is not None
    except ModuleNotFoundError:
        return False


def test_every_command_to_decide_is_one_that_bench_takes():
    docs = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("decide.md", "map.md")]
    found = [line for text in (README, *docs, RECIPES) for line in lines(text, "bench.decide")]
    assert len(found) >= 8
    for line in found:
        for grid in read_command_grids(read_request(shlex.split(line)).arguments):
            words = [first(word) for word in grid.words if word != "-m"]
            with initialize_config_module("conf", version_base="1.3"):
                assert compose("config", words, return_hydra_config=True).model.name


def test_the_pages_have_commands():
    assert len(commands("bench")) >= 15
    assert any("submitit" in line for line in commands("bench"))


@pytest.mark.parametrize("line", [line for line in commands("bench") if line != "--help"])
def test_every_command_is_one_that_bench_takes(line):
    for name, plugin in PLUGINS.items():
        if f"hydra/launcher={name}" in line and not installed(plugin):
            pytest.skip(f"{plugin} is not installed")
    for cfg in composed(line):
        assert cfg.model.name
        assert cfg.dataset.name


@pytest.mark.parametrize(
    "line",
    [
        "model=no_such_model",
        "-m experiment=no_such_experiment",
        "dataset=digits budget.minutes=3",
        "-m experiment=families sweep=no_such_grid",
        "-m model=ddpm_small model.build.no_such_part.width=1,2",
    ],
)
def test_a_command_with_a_name_that_does_not_exist_is_seen(line):
    with pytest.raises(Exception, match=r"no_such|minutes"):
        composed(line)


@pytest.mark.parametrize(
    ("module", "source"),
    [("bench.compare", "bench/compare/cli.py"), ("bench.export", "bench/export.py")],
)
def test_options_of_the_other_commands_exist(module, source):
    text = (ROOT / source).read_text(encoding="utf-8")
    found = commands(module)
    assert found
    for line in found:
        for option in re.findall(r"--[\w-]+", line):
            assert f'"{option}"' in text, f"{module} {option}"


def test_names_that_the_text_gives_exist():
    for group in ("experiment", "model", "dataset"):
        for names in re.findall(rf"(?<![\w.]){group}=([\w,]+)", README):
            for name in filter(None, names.split(",")):
                assert (ROOT / "conf" / group / f"{name}.yaml").exists(), f"{group}={name}"
