"""What a command line asks of Hydra, read by Hydra's own parsers: a sweep, values of overrides."""

import os
from collections.abc import Sequence
from functools import cache
from typing import Any

from hydra import compose, initialize_config_module
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import EnumNode
from omegaconf.errors import OmegaConfBaseException

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
    """Say how many jobs joblib runs at once, unless the command line does: one per GPU, or core."""
    named = values(arguments, "hydra.launcher.n_jobs")
    if "joblib" not in values(arguments, LAUNCHER) or named:
        return list(arguments)
    return [*arguments, f"hydra.launcher.n_jobs={gpu_count or cores}"]


def first_folder(arguments: Sequence[str]) -> str | None:
    """`results_root` of a line's first job; None if no text, or if Hydra cannot say it yet."""
    words = [a for a in arguments if not a.startswith("-") and not key(a).startswith("hydra")]
    first = [_first(word) for word in words]
    try:
        with initialize_config_module("conf", version_base="1.3"):
            root = compose("config", first).results_root
    except (HydraException, OmegaConfBaseException):
        return None
    return root if isinstance(root, str) else None


def _first(argument: str) -> str:
    """An override with the first value of a sweep."""
    override = _parsed(argument)
    if override is None or not override.is_discrete_sweep():
        return argument
    return f"{argument.partition('=')[0]}={next(iter(override.sweep_string_iterator()))}"


@cache
def _parsed(argument: str) -> Override | None:
    """An override as Hydra reads it; None for what it will not take."""
    try:
        return OverridesParser.create().parse_override(argument)
    except HydraException:
        return None
