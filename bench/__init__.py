"""The benchmark: one trainer, one evaluator and one comparison for every family of models.

`bench.load` gives the model of a recorded run, to sample from.
"""

from typing import TYPE_CHECKING, Any

from bench.runtime.import_root import find_ours

if TYPE_CHECKING:
    from bench.runs.loaded import load

__all__ = ["load"]
__version__ = "0.1.0"

find_ours()


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is asked for."""
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bench.runs.loaded import load

    return load


def __dir__() -> list[str]:
    """Names, with those that are imported when they are asked for."""
    return sorted({*globals(), *__all__})
