"""What users can mend, in one sentence; anything else is a bug and shown whole."""

from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import InstantiationException
from omegaconf.errors import OmegaConfBaseException

from bench.runtime.printing import printable


class RunError(Exception):
    """A run could not start or go on; the message says what to do about it.

    Nothing in the message steers a terminal, whatever names it holds.

    Args:
        message: a sentence; Hydra's have several lines.

    Attributes:
        in_use: whether it is only that another process is at the run.
    """

    in_use = False

    def __init__(self, message: str) -> None:
        super().__init__(printable(message, kept="\n\t"))


@contextmanager
def type_errors_name(key: str) -> Iterator[None]:
    """Blame a call with wrong arguments on the part of the configuration that they came from."""
    try:
        yield
    except TypeError as error:
        raise ValueError(f"{key}: {error}") from error


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn what users can mend into a `RunError`; anything else is a bug and shown whole."""
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
