"""What programs print: nothing that steers a terminal, and no half output where readers leave."""

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def printable(text: str, *, kept: str = "") -> str:
    """Text that shows what would steer a terminal, or cannot be encoded, as an escape sequence.

    Args:
        text: from files, names or errors: anything.
        kept: characters that stay although they are not printable, such as line ends.
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
    """Plain messages, line by line, without what would steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The message, and the traceback where there is one."""
        return printable(super().format(record), kept="\n\t")


def replace_what_cannot_be_shown() -> None:
    """Let output be "?" and errors be escaped where the terminal's encoding lacks a character."""
    for stream, errors in ((sys.stdout, "replace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


@contextmanager
def words() -> Iterator[None]:
    """Print inside; a reader who has left, such as `head`, ends only the words.

    Raises:
        OSError: the words cannot be written for another reason, such as a full disk.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # else the flush at exit would fail again
        os.close(nowhere)
