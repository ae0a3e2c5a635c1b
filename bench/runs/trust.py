"""Packages of the user's own that a command trusts: a recorded configuration may call these too.

Whoever gives a command names them, for this command alone. What a run directory holds is never
asked. The names stand in the recorded command, for its reader, and are never read back.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

from bench.runtime.import_root import NAMES

OURS = ("bench", *NAMES)
"""Packages of this project; conf/constructors.yaml lists what may be called of them."""

BUILT_ON = ("hydra", "numpy", "omegaconf", "torch", "torchvision")
"""Packages that can do anything to a machine, wherever they were installed."""


@dataclass(frozen=True)
class Trust:
    """What a command trusts.

    Attributes:
        packages: names of top-level packages.
        option: how its user names one, with {} for the name.
    """

    packages: frozenset[str] = frozenset()
    option: str = "--trust {}"


NOBODY = Trust()

_TRUST: ContextVar[Trust] = ContextVar("trust", default=NOBODY)


@contextmanager
def trusting(packages: Sequence[str], option: str) -> Iterator[None]:
    """Trust packages while this lasts.

    Args:
        packages: names of top-level packages.
        option: how the user of the command names one, with {} for the name.

    Raises:
        ValueError: a name is not that of a package of the user's own, or there is no such package.
    """
    for name in packages:
        reason = why_not(name)
        if not reason and _spec(name) is None:
            reason = "Python finds no such package: put the folder that holds it on PYTHONPATH"
        if reason:
            raise ValueError(f"{option.format(name)}: {reason}")
    token = _TRUST.set(Trust(frozenset(packages), option))
    try:
        yield
    finally:
        _TRUST.reset(token)


def trusted(package: str) -> bool:
    """Whether this command trusts a top-level package."""
    return package in _TRUST.get().packages


def option_for(package: str) -> str:
    """How the user of this command trusts a package; empty where nobody can."""
    return "" if why_not(package) else _TRUST.get().option.format(package)


def why_not(name: str) -> str:
    """Why a package cannot be trusted; empty where it can, or is not there.

    Trust is for code that its user wrote or read. Python's own modules and installed packages have
    functions that run commands, write files or load programs, so that trusting one of these would
    let a recorded configuration do anything. A package counts as installed where it lies among
    installed packages; one of the user's own lies in a folder on PYTHONPATH, or in the folder that
    `pip install -e` was given.
    """
    if not name.isidentifier() or name.startswith("_"):
        return "give the name of one top-level package of your own, such as my_models"
    if name in OURS:
        return f"{name} is a package of this project: conf/constructors.yaml lists what is called"
    if name in sys.stdlib_module_names:
        return f"{name} is a module of Python itself: name a package of your own"
    spec = None if name in BUILT_ON else _spec(name)
    if name in BUILT_ON or (spec is not None and any(map(_holds_installed, _holders(spec)))):
        return (
            f"{name} is an installed package: name one of your own, in a folder on PYTHONPATH or "
            "installed by pip install -e"
        )
    return ""


def _spec(name: str) -> ModuleSpec | None:
    """Where Python would find a top-level package, which is not imported for this."""
    try:
        return find_spec(name)
    except (ImportError, ValueError):
        return None


def _holders(spec: ModuleSpec) -> list[Path]:
    """The folders that hold a package: one, or several for a package without __init__.py."""
    places = list(spec.submodule_search_locations or ()) or [spec.origin or ""]
    return [Path(place).absolute().parent for place in places]


def _holds_installed(folder: Path) -> bool:
    """Whether pip or a system's package manager installs packages into a folder."""
    named = {"site-packages", "dist-packages"} & set(folder.parts)
    return bool(named) or any(folder.glob("*.dist-info"))
