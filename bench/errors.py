"""Errors that users can fix, as one sentence; anything else is a bug with its traceback."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

from bench.runtime.printing import printable


class RunError(Exception):
    """A run cannot start or continue; the message says what to do.

    The message contains no terminal control sequences.

    Args:
        message: one sentence; those of Hydra have several lines.

    Attributes:
        in_use: whether the only reason is that another process uses the run.
    """

    in_use = False

    def __init__(self, message: str) -> None:
        super().__init__(printable(message, kept="\n\t"))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence that refuses a word; without a known one near it, empty.

    Args:
        word: what was given.
        known: what could be meant, such as "evaluator.samples"; its last part alone is near, too.
    """
    names = {part: name for name in known for part in (name.rpartition(".")[2], name)}
    near = get_close_matches(word, names, n=1)
    return f"did you mean {names[near[0]]}?" if near else ""


@contextmanager
def type_errors_name(key: str) -> Iterator[None]:
    """Name the configuration key in the error of a call with wrong arguments."""
    from hydra.errors import InstantiationException  # what does not call this starts faster

    try:
        yield
    except (TypeError, InstantiationException) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        if not isinstance(cause, TypeError):
            raise
        raise ValueError(f"{key}: {cause}") from error


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn errors that users can fix into a `RunError`; anything else is a bug."""
    from hydra.errors import InstantiationException  # what does not call this starts faster
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except InstantiationException as error:
        cause = error.__cause__ or error
        raise RunError(str(cause)) from error
    except (ValueError, OSError, RunInUseError, OmegaConfBaseException) as error:
        said = RunError(str(error))
        said.in_use = isinstance(error, RunInUseError)
        raise said from error


class RunInUseError(RuntimeError):
    """Another process is writing this run."""
