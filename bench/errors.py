"""Errors that users can fix, as one sentence; anything else is a bug with its traceback."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import SequenceMatcher

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


NEAR = 0.6
"""Least similarity, in [0, 1], of a known word that is suggested."""

EQUALLY_NEAR = 0.02
"""Largest difference in similarity of words that are suggested together."""

MOST_SUGGESTED = 3


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence that refuses a word; empty if no known word is near it.

    Args:
        word: what was given.
        known: what could be meant, such as "evaluator.samples"; the last part of a name counts
            most, so that "sample" is near it, too.
    """
    near = {name: _similarity(word.lower(), name.lower()) for name in known}
    best = max(near.values(), default=0.0)
    found = [name for name in near if near[name] >= max(NEAR, best - EQUALLY_NEAR)]
    found = sorted(found, key=lambda name: -near[name])[:MOST_SUGGESTED]  # stable: ties in order
    return f"did you mean {_either(found)}?" if found else ""


def nearest_of(word: str, known: Sequence[str]) -> str:
    """The end of a sentence that refuses a word: the nearest known words, then all of them."""
    question = did_you_mean(word, known)
    there = f"here {'is' if len(known) == 1 else 'are'} {', '.join(known)}"
    return f"{question} T{there}" if question else f"t{there}"


def _similarity(word: str, name: str) -> float:
    """Similarity of two dotted names, in [0, 1]: of their last parts, less if sections differ."""
    (section, _, last), (own_section, _, own) = (each.rpartition(".") for each in (word, name))
    apart = 0.1 * (1 - SequenceMatcher(None, section, own_section).ratio())
    whole = SequenceMatcher(None, word, name).ratio() if not section else 0.0
    return max(whole, SequenceMatcher(None, last, own).ratio() * (1 - apart))


def _either(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


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
