"""What a bad input is: what it is given to, and what the user is told."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bad_files import Prepare


def nothing(root: Path) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        given: what it is, for readers; the arguments where they say it best.
        said: the sentence that the user sees, with placeholders in angle brackets; for an input
            that is accepted, what becomes of it.
        arguments: of the program, with {folder} for the folder that was prepared.
        prepare: writes the input into the folder.
        program: what the arguments are given to.
        check: for an input that is accepted, asserts of the run directory what `said` says.
    """

    given: str
    said: str
    arguments: tuple[str, ...]
    prepare: Prepare = nothing
    program: str = "bench"
    check: Callable[[Path], None] | None = None
