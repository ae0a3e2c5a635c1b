"""Ctrl-C and SIGTERM end a command in one line, after everything that it had open was closed."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SHELL = 128
"""What shells add to a signal's number to make it an exit code."""

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
"""Signals that end a command, and what is said of them."""

_came: list[int] = []
"""Signals that were heard, and may have been swallowed on their way as exceptions."""

_held: list[bool] = []
"""Not empty while signals are only noted."""


@contextmanager
def said_in_one_line(program: str, remedy: str) -> Iterator[None]:
    """End the process by one line on standard error where it is interrupted.

    Enter it before anything slow is imported. Under torchrun, which ends its processes by SIGTERM
    while they wait for each other in C++, that signal keeps its default.

    Args:
        program: the name that the line begins with.
        remedy: what to do next.

    Raises:
        SystemExit: 130 after Ctrl-C, 143 after SIGTERM.
    """
    signal.signal(signal.SIGINT, _hear)
    if "WORLD_SIZE" not in os.environ:
        signal.signal(signal.SIGTERM, _hear)
    try:
        yield
    except BaseException as error:
        ended_well = isinstance(error, SystemExit) and not error.code
        if not _came or ended_well:
            raise
        for further in WORDS:
            signal.signal(further, signal.SIG_IGN)  # what is left to do is short
        print(f"{program}: {WORDS[signal.Signals(_came[-1])]}: {remedy}", file=sys.stderr)
        sys.stderr.flush()
        exec("")  # an interrupt within `exec` would have CPython end by the signal itself
        sys.exit(SHELL + _came[-1])


def end_if_interrupted() -> None:
    """Go on to the end where an error is only what was made of an interrupt on its way.

    Raises:
        KeyboardInterrupt: there was one.
    """
    if _came:
        raise KeyboardInterrupt


@contextmanager
def held_back() -> Iterator[None]:
    """Hear interrupts only on leaving, for what would take their exception for an error of its own.

    Raises:
        KeyboardInterrupt: one came.
    """
    before = len(_came)
    _held.append(True)
    try:
        yield
    finally:
        _held.pop()
    if len(_came) > before:
        raise KeyboardInterrupt


def _hear(number: int, frame: FrameType | None) -> None:
    del frame
    _came.append(number)
    if not _held:
        raise KeyboardInterrupt
