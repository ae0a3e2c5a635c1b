"""Ctrl-C and SIGTERM end a command with one line, after open resources were closed."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SHELL = 128
"""Offset of exit codes of signals."""

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
"""Signals that end a command, with their text."""

_came: list[int] = []
"""Received signals, whose exceptions may have been swallowed."""

_held: list[bool] = []
"""Not empty while signals are only recorded."""


@contextmanager
def said_in_one_line(program: str, remedy: str) -> Iterator[None]:
    """End the process with one line on standard error if it is interrupted.

    Enter it before anything slow is imported. Under torchrun, which ends processes by SIGTERM while
    they wait for each other in C++, this signal keeps its default handler.

    Args:
        program: first word of the line.
        remedy: what to do next; empty for ending without a word, because another process says it.

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
            signal.signal(further, signal.SIG_IGN)  # only a short clean-up remains
        if remedy:
            print(f"{program}: {WORDS[signal.Signals(_came[-1])]}: {remedy}", file=sys.stderr)
            sys.stderr.flush()
        exec("")  # CPython ends by the signal itself if interrupted within `exec`
        sys.exit(SHELL + _came[-1])


def end_if_interrupted() -> None:
    """Raise KeyboardInterrupt again if an error was caused by an interrupt.

    Raises:
        KeyboardInterrupt: there was an interrupt.
    """
    if _came:
        raise KeyboardInterrupt


@contextmanager
def held_back() -> Iterator[None]:
    """Delay interrupts to the exit, for code that would turn them into errors of its own.

    Raises:
        KeyboardInterrupt: there was an interrupt.
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
