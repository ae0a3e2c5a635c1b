"""Processes of two checkouts that are measured in alternation.

A program gets the checkout and its arguments, prints a line when it is ready, and then, for every
number that it reads, the mean seconds of doing its work so many times.
"""

import subprocess
import sys
from pathlib import Path


class Side:
    """A process that measures one checkout when it is asked to.

    Attributes:
        said: the line that it printed when it was ready.
        seconds: what it measured.
    """

    def __init__(self, checkout: Path, program: str, arguments: list[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(checkout), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=checkout,
            text=True,
        )
        self.said = self.answer()
        self.seconds: list[float] = []

    def answer(self) -> str:
        """What the process prints next.

        Raises:
            RuntimeError: it has ended.
        """
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise RuntimeError(f"the process ended with {self.process.wait()}: see above")
        return line

    def measure(self, times: int) -> None:
        """Seconds of what it does, the mean of so many times."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{times}\n")
        self.process.stdin.flush()
        self.seconds.append(float(self.answer()))

    def end(self) -> None:
        """End the process."""
        self.process.communicate()


def alternate(
    before: Path, after: Path, program: str, arguments: list[str], repeats: int, times: int
) -> tuple[Side, Side]:
    """Measure both checkouts in turn, each the first one in every second round."""
    sides = Side(before, program, arguments), Side(after, program, arguments)
    for repeat in range(repeats):
        for side in sides if repeat % 2 else sides[::-1]:
            side.measure(times)
    for side in sides:
        side.end()
    return sides
