"""Safe printing: no terminal control sequences, and no failure if a pipe closes."""

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


def printable(text: str, *, kept: str = "") -> str:
    """Escape terminal control characters and what cannot be encoded.

    Args:
        text: any text, such as from files, names or errors.
        kept: non-printable characters to keep, such as line ends.
    """
    if text.isprintable():
        return text
    return "".join(
        letter
        if letter.isprintable() or letter in kept
        else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


class StderrHandler(logging.StreamHandler):
    """Writes to what sys.stderr is at that moment: the line of a run may stand below it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """Standard error."""
        return sys.stderr

    def setStream(self, stream: object) -> None:  # noqa: N802
        """Refuse: there is no other stream."""
        raise TypeError("StderrHandler writes to sys.stderr")


class PrintableFormatter(logging.Formatter):
    """Plain messages without terminal control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """The message, with its traceback if there is one."""
        return printable(super().format(record), kept="\n\t")


def duration(seconds: float) -> str:
    """A time for readers, such as "45 s", "12 min", "3 h 20 min" or "2 d 4 h"."""
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds >= 0.05 else "0 s"
    if round(seconds) < 100:
        return f"{seconds:.0f} s"
    return " ".join(f"{n} {unit}" for n, unit in _units(seconds))


def exact_duration(seconds: float) -> str:
    """A time that is not rounded, such as "40 s", "90 s", "10 min" or "1 h 20 min"."""
    if seconds < 120 and seconds != 60:
        return f"{seconds:g} s"
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{n:g} {unit}" for n, unit in parts if n)


def brief(seconds: float) -> str:
    """The same in few letters, such as "45s", "12m", "3h20m" or "2d4h"."""
    if round(seconds) < 100:
        return f"{seconds:.0f}s"
    return "".join(f"{n}{unit[0]}" for n, unit in _units(seconds))


def _units(seconds: float) -> list[tuple[int, str]]:
    """The one or two largest units of a time of minutes or more that say enough."""
    minutes = round(seconds / 60)
    if minutes < 100:
        return [(minutes, "min")]
    hours = round(seconds / 3600)
    if hours < 48:
        return [(n, u) for n, u in ((minutes // 60, "h"), (minutes % 60, "min")) if n]
    return [(n, u) for n, u in ((hours // 24, "d"), (hours % 24, "h")) if n]


def replace_what_cannot_be_shown() -> None:
    """Replace characters that the terminal's encoding lacks: "?" in output, escaped in errors."""
    for stream, errors in ((sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


@contextmanager
def words() -> Iterator[None]:
    """Ignore a closed pipe, such as that of `head`, while printing.

    Raises:
        OSError: printing fails for another reason, such as a full disk.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        _print_nowhere()
    except SystemExit:  # as Hydra ends after its help
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _print_nowhere()
        raise


def _print_nowhere() -> None:
    """Discard what is printed from now on; otherwise the flush at exit would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
