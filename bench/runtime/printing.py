"""Safe printing: no terminal control sequences, and no failure if a pipe closes."""

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


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


class PrintableFormatter(logging.Formatter):
    """Plain messages without terminal control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """The message, with its traceback if there is one."""
        return printable(super().format(record), kept="\n\t")


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
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # otherwise the flush at exit would fail again
        os.close(nowhere)
