"""What the configuration of a run from elsewhere may call, and with which arguments.

`python -m bench` calls what its user names. A run directory may come from somebody else, and its
config.yaml names callables as well. Only those that conf/constructors.yaml lists are called, with
plain values of the kinds that their signatures name.
"""

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from pkgutil import resolve_name
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

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
    """Full names of all that a recorded configuration may call."""
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
    if load is not None and not _taken(load[TARGET]).keys() >= ROOTS:
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
    """Check one call and those in its arguments.

    Raises:
        ValueError: naming the file, the key and what is wrong with it.
    """
    target = call.get(TARGET) if isinstance(call, Mapping) else None
    if not isinstance(call, Mapping) or not isinstance(target, str):
        raise ValueError(f"{path}: {key} must name what to call by {TARGET}: do not use this run")
    if target not in constructors():
        raise ValueError(
            f"{path}: {key} calls {target!r}, which conf/constructors.yaml does not list: do not "
            "use this run or, where the code is your own, add a line there"
        )
    arguments = {name: value for name, value in call.items() if name not in (TARGET, PARTIAL)}
    taken = _taken(target)
    for name, value in arguments.items():
        if name not in taken:
            raise ValueError(
                f"{path}: {key}.{name} is no argument of {target}: do not use this run"
            )
        if not _fits(value, taken[name]):
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


@cache
def _taken(target: str) -> dict[str, Any]:
    """The arguments of a listed target that can be given by name, with their types."""
    made: Callable[..., Any] = resolve_name(target)
    hints = get_type_hints(made.__init__ if inspect.isclass(made) else made)
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(made).parameters.values()
    return {p.name: hints.get(p.name, object) for p in parameters if p.kind in by_name}


def _fits(value: object, hint: Any) -> bool:
    """Whether a value of YAML is one of a type; calls give whatever is no plain value."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, choice) for choice in inner)
    if hint in (None, NoneType):
        return value is None
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in inner)
    if hint in SCALARS:
        return type(value) in SCALARS[hint]
    if (origin or hint) in LISTS and isinstance(value, list):
        elements = [kind for kind in inner if kind is not ...] or [object]
        return all(any(_fits(v, kind) for kind in elements) for v in value)
    if (origin or hint) in (dict, Mapping) and isinstance(value, Mapping):
        return all(_fits(v, (inner or (str, object))[1]) for v in value.values())
    return hint in (object, Any) or (isinstance(value, Mapping) and TARGET in value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
