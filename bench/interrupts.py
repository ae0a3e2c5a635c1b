"""Ctrl-C and SIGTERM end a command in one line, after everything that it had open was closed."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SHELL = 128
"""What shells add to a signal's number to make it an exit code."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which is answered as Ctrl-C is."""


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
    if "WORLD_SIZE" not in os.environ:
        signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        yield
    except KeyboardInterrupt as error:
        terminated = isinstance(error, Terminated)
        number = signal.SIGTERM if terminated else signal.SIGINT
        for further in (signal.SIGINT, signal.SIGTERM):
            signal.signal(further, signal.SIG_IGN)  # what is left to do is short
        what = "terminated" if terminated else "interrupted"
        print(f"{program}: {what}: {remedy}", file=sys.stderr, flush=True)
        sys.exit(SHELL + number)


def _raise_terminated(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise Terminated
