"""Errors that users can fix, as one sentence; anything else is a bug with its traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def type_errors_name(key: str) -> Iterator[None]:
    """Name the configuration key in the error of a call with wrong arguments."""
    try:
        yield
    except TypeError as error:
        raise ValueError(f"{key}: {error}") from error


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


@contextmanager
def bugs_are_shown(run: str) -> Iterator[None]:
    """Have a ValueError shown as the bug that it is once everything is built.

    Args:
        run: the run directory, for the message.

    Raises:
        RuntimeError: from a ValueError, which is not to be taken for the user's.
    """
    try:
        yield
    except ValueError as error:
        raise RuntimeError(f"{run}: a bug, in the model or in bench: {error}") from error


class RunInUseError(RuntimeError):
    """Another process is writing this run."""
