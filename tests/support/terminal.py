"""A terminal that a program writes to, and what stands on its screen."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path

CODES = re.compile(r"\x1b\[(\d*)[\d;]*([A-Za-z])|\x1b\[\?\d+[hl]")
"""Control sequences: of the cursor, and of modes."""


class Screen:
    """The lines of a terminal of some width, as long as it needs to be.

    Lines that were wrapped are wrapped anew when the width changes, as most terminals do.

    Args:
        width: columns.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._cells: list[list[str]] = [[]]  # rows
        self._wrapped: list[bool] = [False]  # whether a row goes on in the next one
        self._row = self._column = 0

    @property
    def lines(self) -> list[str]:
        """The rows that are not empty."""
        return [line for row in self._cells if (line := "".join(row).rstrip())]

    def feed(self, text: str) -> None:
        """Take in what a program writes."""
        at = 0
        while at < len(text):
            if match := CODES.match(text, at):
                self._control(match[2], int(match[1] or 1) if match[2] else 0)
                at = match.end()
                continue
            self._letter(text[at])
            at += 1

    def resize(self, width: int) -> None:
        """Wrap all lines to another width; the cursor stays at its letter."""
        logical: list[list[str]] = [[]]
        cursor = (0, 0)
        for k, row in enumerate(self._cells):
            if k == self._row:
                cursor = (len(logical) - 1, len(logical[-1]) + self._column)
            logical[-1] += row
            if not self._wrapped[k]:
                logical.append([])
        self.width, self._cells, self._wrapped = width, [], []
        for k, line in enumerate(logical[:-1]):
            if k == cursor[0]:
                self._row = len(self._cells) + min(cursor[1], max(len(line) - 1, 0)) // width
                self._column = min(cursor[1] - (self._row - len(self._cells)) * width, width)
            parts = [line[i : i + width] for i in range(0, len(line), width)] or [[]]
            self._cells += parts
            self._wrapped += [True] * (len(parts) - 1) + [False]

    def _control(self, kind: str | None, n: int) -> None:
        if kind == "A":
            self._row = max(0, self._row - n)
        elif kind == "J":
            del self._cells[self._row + 1 :], self._wrapped[self._row + 1 :]
        if kind in ("J", "K"):
            del self._cells[self._row][self._column :]
            self._wrapped[self._row] = False

    def _letter(self, letter: str) -> None:
        if letter == "\r":
            self._column = 0
        elif letter == "\n":
            self._next_row()
        else:
            if self._column >= self.width:
                self._wrapped[self._row] = True
                self._next_row()
                self._column = 0
            row = self._cells[self._row]
            row += [" "] * (self._column + 1 - len(row))
            row[self._column] = letter
            self._column += 1

    def _next_row(self) -> None:
        self._row += 1
        if self._row == len(self._cells):
            self._cells.append([])
            self._wrapped.append(False)


def run_in_terminal(
    command: list[str],
    cwd: Path,
    environment: Mapping[str, str],
    *,
    width: int,
    timeout: float = 240.0,
    watch: Callable[[Screen, Callable[[int], None]], None] = lambda screen, resize: None,
) -> tuple[int, Screen]:
    """Run a program in a terminal.

    Args:
        command: the program.
        cwd: its working directory.
        environment: its environment, to which TERM is added.
        width: columns of the terminal.
        timeout: seconds after which it is killed.
        watch: called with the screen after each piece of output, and a function that changes the
            width.

    Returns:
        The exit code, and the screen as the program left it.
    """
    ours, theirs = pty.openpty()
    screen = Screen(width)

    def resize(columns: int) -> None:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        screen.resize(columns)

    resize(width)
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**environment, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.set_blocking(ours, False)
    deadline = time.monotonic() + timeout
    pending = b""
    while True:
        ended = process.poll() is not None
        try:
            pending += os.read(ours, 1 << 16)
        except BlockingIOError:
            if ended:
                break
            time.sleep(0.02)
        if time.monotonic() > deadline:
            process.kill()
        whole = pending.decode(errors="ignore") if _complete(pending) else ""
        if whole:
            screen.feed(whole.replace("\r\n", "\n\r"))
            pending = b""
            watch(screen, resize)
    os.close(ours)
    os.close(theirs)
    return process.wait(), screen


def _complete(data: bytes) -> bool:
    """Whether no letter and no control sequence is cut at the end."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return not re.search(r"\x1b(\[\??[\d;]*)?$", text)
