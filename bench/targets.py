"""What the configuration of a run from elsewhere may call: what this project defines, nothing else.

`python -m bench` calls what its user names. A run directory may come from somebody else, and its
config.yaml names callables as well: `os.system` is one.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

MAKERS = ("models", "bench.data", "bench.recorded")
"""Packages whose callables make data sets and models, and write no files but caches."""

CALLED = (("model", "build"), ("dataset", "load"))
"""The parts of a recorded configuration that are called to build its model again."""


def check_targets(config: Mapping[str, Any], path: Path) -> None:
    """Check that everything which a recorded configuration would call is one of the `MAKERS`'.

    Args:
        config: what stands in config.yaml. Of it `model.build` and `dataset.load` are called.
        path: the file, for the message.

    Raises:
        ValueError: something would be called that is defined elsewhere, or could not be seen here.
    """
    if any(isinstance(value, str) and "${" in value for _, value in _values(config)):
        raise ValueError(
            f"{path} refers to other values by ${{…}}, which bench never does: do not use this run"
        )
    called = [dict(config.get(part) or {}).get(key) for part, key in CALLED]
    for key, value in _values(called):
        if key == "_target_" and not _is_ours(value):
            raise ValueError(
                f"{path} calls {value!r}, which is not defined in {', '.join(MAKERS)}: do not use "
                "this run or, where it is your own, move what it calls to models/"
            )


def _values(tree: object, key: object = None) -> Iterator[tuple[object, object]]:
    """Every value in nested mappings and lists, with its key."""
    if isinstance(tree, Mapping):
        for name, branch in tree.items():
            yield from _values(branch, name)
    elif isinstance(tree, list):
        for branch in tree:
            yield from _values(branch, key)
    else:
        yield key, tree


def _is_ours(target: object) -> bool:
    """Whether a dotted name is of our packages, and so is what it leads to.

    The name alone does not say: `bench.data.cache.shutil.rmtree` leads elsewhere.
    """
    if not isinstance(target, str) or not _within(target):
        return False
    try:
        found = resolve_name(target)
    except (ImportError, AttributeError, ValueError):
        return False
    return _within(f"{getattr(found, '__module__', '')}.")


def _within(name: str) -> bool:
    return name.startswith(tuple(f"{maker}." for maker in MAKERS))
