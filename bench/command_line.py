"""Parsing of the command line with Hydra's own parsers: overrides, sweeps, grids of experiment=."""

import os
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_module
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import EnumNode
from omegaconf.errors import OmegaConfBaseException

from bench.errors import nearest_of
from bench.runtime.jobs import at_once, quoted

DRY_RUN = "--dry-run"
"""The flag that has a command say what it would do, and do nothing."""

LAUNCHER = "hydra/launcher"
"""Override of who starts the jobs of a sweep."""


def check_names(arguments: Sequence[str]) -> None:
    """Refuse names that are not text, which no configuration and no table could hold.

    Raises:
        ValueError: an argument, or the path of the working directory, is not UTF-8, or there is no
            such directory any more.
    """
    try:
        here = os.getcwd()
    except FileNotFoundError as error:
        raise ValueError("the working directory has been deleted: go to another one") from error
    for what, text in (("the working directory", here), *(("the argument", a) for a in arguments)):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            shown = os.fsencode(text).decode(errors="backslashreplace")
            raise ValueError(f"{what} {shown} is not UTF-8: rename the file or folder") from error


def check_flags(arguments: Sequence[str]) -> None:
    """Refuse flags that neither bench nor Hydra has.

    Raises:
        ValueError: naming the first such flag, and those that are near it.
        SystemExit: Hydra does not take a flag's value, and has said so.
    """
    parser = get_args_parser()
    _, more = parser.parse_known_args([word for word in arguments if word != DRY_RUN])
    for word in more:
        if word.startswith("-"):
            flags = [flag for each in parser._actions for flag in each.option_strings]
            known = [DRY_RUN, *(flag for flag in flags if flag.startswith("--"))]
            raise ValueError(f"{word} is no flag: {nearest_of(word.partition('=')[0], known)}")


def check_config_dir(arguments: Sequence[str]) -> None:
    """Refuse files of --config-dir that have names of ours, which Hydra reads without a word.

    Raises:
        ValueError: naming the first such file.
        SystemExit: Hydra does not take the flags, and has said so.
    """
    flags, _ = get_args_parser().parse_known_args(list(arguments))
    ours = Path(str(files("conf")))
    if flags.config_dir is None or Path(flags.config_dir).resolve() == ours.resolve():
        return
    for file in sorted(ours.rglob("*.yaml")):
        name = file.relative_to(ours)
        if (Path(flags.config_dir) / name).is_file():
            raise ValueError(
                f"--config-dir {flags.config_dir} has {name}, a name that bench has too, whose own "
                "file would be read: rename yours"
            )


def is_multirun(arguments: Sequence[str]) -> bool:
    """Whether Hydra is asked for a sweep, by a flag or by hydra.mode.

    Raises:
        SystemExit: Hydra does not take the flags, and has said so.
    """
    flags, _ = get_args_parser().parse_known_args(list(arguments))
    if flags.multirun:
        return True
    modes = values(arguments, "hydra.mode")
    try:
        return bool(modes) and EnumNode(RunMode, modes[-1])._value() is RunMode.MULTIRUN
    except OmegaConfBaseException:  # Hydra says which there are
        return False


def only_prints(arguments: Sequence[str]) -> bool:
    """Whether Hydra is asked to print something, such as its help, in place of running jobs.

    Raises:
        SystemExit: Hydra does not take the flags, and has said so.
    """
    flags, _ = get_args_parser().parse_known_args(list(arguments))
    asked = (flags.help, flags.hydra_help, flags.info, flags.cfg, flags.shell_completion)
    return any(asked)


def key(argument: str) -> str:
    """What an override is of; the argument itself where it is none."""
    return argument.lstrip("+~").partition("=")[0]


def values(arguments: Sequence[str], name: str) -> list[Any]:
    """The values that the last override of a key gives it: one, or those of a sweep, or none."""
    parsed = [_parsed(a) for a in arguments if "=" in a and key(a) == name]
    found = [override for override in parsed if override is not None]
    if not found:
        return []
    last = found[-1]
    return list(last.sweep_string_iterator()) if last.is_discrete_sweep() else [last.value()]


def with_jobs(arguments: Sequence[str], *, gpu_count: int, cores: int) -> list[str]:
    """Set how many jobs joblib runs at once, unless the command line does: one per GPU or core.

    Without GPUs there are never more threads than cores: with threads=4 there is one job for every
    four cores.

    Raises:
        ValueError: the command line asks for more threads than cores.
    """
    if "joblib" not in values(arguments, LAUNCHER):
        return list(arguments)
    threads = max([n for n in values(arguments, "threads") if type(n) is int and n > 0], default=1)
    named = values(arguments, "hydra.launcher.n_jobs")
    if not named:
        jobs = gpu_count or max(1, cores // threads)
        return [*arguments, f"hydra.launcher.n_jobs={jobs}"]
    if not gpu_count and type(named[-1]) is int:
        jobs = at_once({"n_jobs": named[-1]}, cores=cores)
        if jobs > 1 and jobs * threads > cores:
            of_each = f" with {threads} threads each" if threads > 1 else ""
            raise ValueError(
                f"hydra.launcher.n_jobs={named[-1]} would run {jobs} jobs at once{of_each}, but "
                f"there are {cores} cores to use, and runs that wait for a core cannot be "
                f"compared: set it to at most {max(1, cores // threads)}, or leave it out"
            )
    return list(arguments)


def first_folder(arguments: Sequence[str]) -> str | None:
    """`results_root` of a line's first job; None if no text, or if Hydra cannot say it yet."""
    words = [word for word in overrides_in(arguments) if not key(word).startswith("hydra")]
    first = [*(each_value(word)[0] for word in words), *search_path(arguments)]
    try:
        with initialize_config_module("conf", version_base="1.3"):
            root = compose("config", first).results_root
    except (HydraException, OmegaConfBaseException):
        return None
    return root if isinstance(root, str) else None


def overrides_in(arguments: Sequence[str]) -> list[str]:
    """The overrides among the arguments: all that are no flags."""
    flags, more = get_args_parser().parse_known_args(list(arguments))
    return [word for word in (*flags.overrides, *more) if not word.startswith("-")]


def search_path(arguments: Sequence[str]) -> list[str]:
    """The override that has `compose` find what --config-dir names; empty without that flag."""
    flags, _ = get_args_parser().parse_known_args(list(arguments))
    if flags.config_dir is None:
        return []
    return [f"hydra.searchpath=[{quoted(f'file://{os.path.abspath(flags.config_dir)}')}]"]


def each_value(argument: str) -> list[str]:
    """An override with each value of its sweep; the override itself if it sweeps nothing."""
    override = _parsed(argument)
    if override is None or not override.is_discrete_sweep():
        return [argument]
    name = argument.partition("=")[0]
    return [f"{name}={value}" for value in override.sweep_string_iterator()] or [argument]


@cache
def _parsed(argument: str) -> Override | None:
    """An override as Hydra reads it; None for what it will not take."""
    try:
        if "glob(" not in argument:
            return OverridesParser.create().parse_override(argument)
        with initialize_config_module("conf", version_base="1.3"):  # what a glob stands for
            loader = GlobalHydra.instance().config_loader()
            return OverridesParser.create(loader).parse_overrides([argument])[0]
    except HydraException:
        return None


SWEEP = "sweep"
"""Key of the grids in an experiment's YAML and, on the command line, of those wanted."""

Grids = Mapping[str, Mapping[str, object]]


def expand(arguments: Sequence[str]) -> list[list[str]]:
    """The command lines of one: a line for each grid of its experiment, or the line itself.

    Args:
        arguments: of `python -m bench`.

    Returns:
        Arguments for Hydra, none of them with `sweep=`.

    Raises:
        ValueError: `sweep=` names no grid of the experiment, the experiment is a sweep and is not
            called as one, or its grids are not written as they should be.
    """
    experiments = values(arguments, "experiment")
    if len(experiments) > 1:
        others = [a for a in arguments if key(a) != "experiment"]
        named = [[*others, f"experiment={name}"] for name in experiments]
        return [line for arguments in named for line in expand(arguments)]
    experiment = experiments[0] if experiments else None
    wanted = values(arguments, SWEEP)
    rest = [a for a in arguments if key(a) != SWEEP]
    grids = read_grids(experiment, rest) if experiment else {}
    if not grids:
        if wanted:
            what = (
                f"experiment={experiment} has no grids" if experiment else "no experiment is named"
            )
            names = ",".join(map(str, wanted))
            raise ValueError(
                f"sweep={names} picks grids of an experiment, and {what}: leave it out"
            )
        return [rest]
    if not is_multirun(rest):
        return [_single(rest, experiment or "", grids)]
    return [_with_grid(rest, grids[name]) for name in _chosen(wanted, experiment or "", grids)]


def read_grids(experiment: str, arguments: Sequence[str] = ()) -> Grids:
    """The grids of experiment/<experiment>.yaml; empty where it has none, or there is none.

    Args:
        experiment: name of one of ours, or of one in the folder that --config-dir names.
        arguments: the command line's.

    Raises:
        ValueError: what stands below `sweep` is no mapping of names to grids, or grids are only
            inherited.
    """
    name = f"experiment/{experiment}.yaml"
    ours = Path(str(files("conf"))) / name
    folder = get_args_parser().parse_known_args(list(arguments))[0].config_dir
    file, shown = (ours, f"conf/{name}") if ours.is_file() else (Path(folder or "") / name, name)
    if not ours.is_file() and (folder is None or not file.is_file()):  # refused by bench.choices
        return {}
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    grids = content.get(SWEEP, {}) if isinstance(content, dict) else None
    if not isinstance(grids, dict) or not all(isinstance(grid, dict) for grid in grids.values()):
        raise ValueError(f"{shown}: {SWEEP} must map names to grids of overrides")
    if not grids and file is not ours and _inherits_grids(experiment, arguments):
        raise ValueError(
            f"{shown} inherits the grids of another experiment, which would not be run: write them "
            f"below {SWEEP} of this file"
        )
    return grids


def _inherits_grids(experiment: str, arguments: Sequence[str]) -> bool:
    with initialize_config_module("conf", version_base="1.3"):
        composed = compose("config", [*search_path(arguments), f"experiment={experiment}"])
    return bool(composed.get(SWEEP))


def _chosen(wanted: Sequence[object], experiment: str, grids: Grids) -> list[str]:
    names = [str(name) for name in wanted] or list(grids)
    for name in names:
        if name not in grids:
            raise ValueError(
                f"sweep={name} names no grid of experiment={experiment}: "
                f"{nearest_of(name, list(grids))}"
            )
    return names


def _single(arguments: list[str], experiment: str, grids: Grids) -> list[str]:
    """The arguments of one job of an experiment; it must say which."""
    given = {key(argument) for argument in arguments}
    if "model" not in given and any("model" in grid for grid in grids.values()):
        raise ValueError(
            f"experiment={experiment} is a sweep: add -m to run it, or name one run of it, as in "
            f"model=… seed=0"
        )
    return arguments


def _with_grid(arguments: list[str], grid: Mapping[str, object]) -> list[str]:
    """The arguments with the grid's overrides that they do not replace."""
    given = {key(argument) for argument in arguments}
    return [
        *arguments,
        *(f"{name}={text(value)}" for name, value in grid.items() if name not in given),
    ]


def text(value: object) -> str:
    """A value as Hydra's overrides write it: true and null as YAML does."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
