"""What the configuration of a run from elsewhere may call, and with which arguments.

`python -m bench` calls what its user names. A run directory may come from somebody else, and its
config.yaml names callables as well. Only those that conf/constructors.yaml lists are called, and
those of packages that the user of the command trusts (bench.runs.trust), with plain values of the
kinds that their signatures name.
"""

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from hydra._internal.utils import _locate  # what `instantiate` finds a target by

from bench.runs.trust import OURS, option_for, trusted

CALLED = (("model", "build"), ("dataset", "load"))
"""The parts of a recorded configuration that are called to build its model again."""

ROOTS = frozenset({"data_root", "cache_root", "download"})
"""Arguments that every loader of a data set takes."""

TARGET, PARTIAL = "_target_", "_partial_"

LISTS = (list, tuple, Sequence, Iterable, Collection)
SCALARS = {bool: (bool,), int: (int,), float: (int, float), str: (str,), Path: (str,)}
"""Kinds of arguments, and those of the values that YAML has for them."""


@cache
def constructors() -> frozenset[str]:
    """Full names of all that any recorded configuration may call."""
    listed = yaml.safe_load((files("conf") / "constructors.yaml").read_text(encoding="utf-8"))
    return frozenset(f"{module}.{name}" for module, names in listed.items() for name in names)


def check_targets(config: Mapping[str, Any], path: Path) -> None:
    """Check what a recorded configuration would call, and with what, before anything is called.

    Args:
        config: what stands in config.yaml. Of it `model.build` and `dataset.load` are called.
        path: the file, for the message.

    Raises:
        ValueError: a value is taken from elsewhere, something that is not listed would be called,
            or an argument is not one that it takes.
    """
    if any(isinstance(value, str) and "${" in value for value in _values(config)):
        raise ValueError(
            f"{path} refers to other values by ${{…}}, which bench never does: do not use this run"
        )
    for part, key in CALLED:
        section = config.get(part, {})
        if not isinstance(section, Mapping):
            raise ValueError(f"{path}: {part} must be a mapping: do not use this run")
        if key in section:
            _check(section[key], f"{part}.{key}", path)
    load = config.get("dataset", {}).get("load")
    if load is not None and not all(_taken(load[TARGET]).has(name) for name in ROOTS):
        raise ValueError(
            f"{path}: dataset.load calls {load[TARGET]!r}, which loads no data set: do not use "
            "this run"
        )


def parents(config: Mapping[str, Any], target: str, argument: str) -> Iterator[str]:
    """What `model.build` gives for an argument wherever it calls this target; no nulls."""
    pending = [config.get("model", {}).get("build")]
    while pending:
        tree = pending.pop()
        if isinstance(tree, Mapping):
            pending += tree.values()
            if tree.get(TARGET) == target and isinstance(value := tree.get(argument), str):
                yield value
        elif isinstance(tree, list):
            pending += tree


def _values(tree: object) -> Iterator[object]:
    """Every value and key in nested mappings and lists."""
    if isinstance(tree, Mapping):
        for key, branch in tree.items():
            yield key
            yield from _values(branch)
    elif isinstance(tree, list):
        for branch in tree:
            yield from _values(branch)
    else:
        yield tree


def _check(call: object, key: str, path: Path) -> None:
    """Check one call and those in its arguments; ValueError says what is wrong with which."""
    target = call.get(TARGET) if isinstance(call, Mapping) else None
    if not isinstance(call, Mapping) or not isinstance(target, str):
        raise ValueError(f"{path}: {key} must name what to call by {TARGET}: do not use this run")
    if target not in constructors():
        _check_trusted(target, f"{path}: {key} calls {target!r}, which")
    arguments = {name: value for name, value in call.items() if name not in (TARGET, PARTIAL)}
    taken = _taken(target)
    for name, value in arguments.items():
        if not taken.has(name):
            raise ValueError(
                f"{path}: {key}.{name} is no argument of {target}: do not use this run"
            )
        if not _fits(value, taken.kinds.get(name, object), lenient=taken.foreign):
            raise ValueError(
                f"{path}: {key}.{name}={_shown(value)} is no value that {target} takes: do not use "
                "this run"
            )
        for place, nested in _calls(value, f"{key}.{name}"):
            _check(nested, place, path)
    if not isinstance(call.get(PARTIAL, False), bool):
        raise ValueError(f"{path}: {key}.{PARTIAL} must be true or false: do not use this run")


def _calls(value: object, key: str) -> Iterator[tuple[str, object]]:
    """The calls within an argument, with their places: itself, or in its lists and mappings."""
    if isinstance(value, Mapping):
        if TARGET in value:
            yield key, value
            return
        for name, branch in value.items():
            yield from _calls(branch, f"{key}.{name}")
    elif isinstance(value, list):
        for k, branch in enumerate(value):
            yield from _calls(branch, f"{key}[{k}]")


def _check_trusted(target: str, said: str) -> None:
    """Check that a target is a class or function of a package that this command trusts.

    Args:
        target: its full name, which conf/constructors.yaml does not list.
        said: how the message begins.

    Raises:
        ValueError: the package is not trusted, or the target is none of its classes and functions,
            as what it imports from elsewhere and methods are not.
    """
    package = target.partition(".")[0]
    if not trusted(package) or not all(part.isidentifier() for part in target.split(".")):
        remedy = "where the code is your own, add a line there"
        if package not in OURS and (option := option_for(package)):
            remedy = f"if you trust that code, add {option}"
        raise ValueError(
            f"{said} conf/constructors.yaml does not list: do not use this run or, {remedy}"
        )
    try:
        made = _locate(target)
    except ImportError as error:
        why = " ".join(str(error.__cause__ or error).split())
        raise ValueError(
            f"{said} Python cannot import ({why}): put the folder that holds it on "
            "PYTHONPATH, or do not use this run"
        ) from error
    own = inspect.isclass(made) or inspect.isfunction(made)
    if not own or made.__module__.partition(".")[0] != package or "." in made.__qualname__:
        raise ValueError(f"{said} is no class or function of {package}: do not use this run")


@dataclass(frozen=True)
class Arguments:
    """What can be given by name to a target.

    Attributes:
        kinds: the arguments in its signature, with their types.
        more: whether it takes others as well.
        foreign: whether it is code of a user's, which may name types that are not known here.
    """

    kinds: Mapping[str, Any]
    more: bool
    foreign: bool

    def has(self, name: str) -> bool:
        """Whether it takes an argument of this name."""
        return self.more or name in self.kinds


@cache
def _taken(target: str) -> Arguments:
    """The arguments of a target that may be called."""
    made: Callable[..., Any] = _locate(target)
    foreign = target not in constructors()
    try:
        hints = get_type_hints(made.__init__ if inspect.isclass(made) else made)
    except (AttributeError, NameError, TypeError):
        if not foreign:
            raise
        hints = {}  # names of types that are imported for type checkers only
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(made).parameters.values()
    kinds = {p.name: hints.get(p.name, object) for p in parameters if p.kind in by_name}
    more = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    return Arguments(kinds, foreign and more, foreign)


def _fits(value: object, hint: Any, *, lenient: bool) -> bool:
    """Whether a value of YAML is one of a type; calls give whatever is no plain value.

    Args:
        value: of YAML.
        hint: the type.
        lenient: whether any value is one of a type that YAML has no values of.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, choice, lenient=lenient) for choice in inner)
    if hint in (None, NoneType):
        return value is None
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in inner)
    if hint in SCALARS:
        return type(value) in SCALARS[hint]
    if hint in (object, Any) or (isinstance(value, Mapping) and TARGET in value):
        return True
    if (origin or hint) in LISTS:
        elements = [kind for kind in inner if kind is not ...] or [object]
        return isinstance(value, list) and all(
            any(_fits(v, kind, lenient=lenient) for kind in elements) for v in value
        )
    if (origin or hint) in (dict, Mapping):
        kind = (inner or (str, object))[1]
        return isinstance(value, Mapping) and all(
            _fits(v, kind, lenient=lenient) for v in value.values()
        )
    return lenient


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
