"""A bad input: the program that receives it, its arguments and the expected message."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bad_files import Prepare

NO_DATA = "dataset.path=nowhere"
"""An override that is refused where the data is read: what is refused before it reads none."""

DATA = ("dataset=folder", "dataset.path={folder}/data")
"""The data set is a folder of images, which the case prepares."""

AS_IS = (*DATA, "dataset.image_size=null")
"""That folder, with images that keep their size."""


def nothing(root: Path) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        given: what it is, for readers; the arguments where they say it best.
        said: the sentence that the user sees, with placeholders in angle brackets; for an input
            that is accepted, what becomes of it.
        arguments: of the program, with {folder} for the folder that was prepared and {run} for the
            run in it.
        prepare: writes the input into the folder.
        spoil: what is done to a finished run of the same command, copied into the folder; None for
            no such run.
        program: what the arguments are given to; "bench.cli" for a command line that is refused
            before any job, of which only the arguments of the case are given.
        exit_code: of the program.
        own_process: whether the program is started as a user does, which takes seconds.
        environment: variables of the program's environment, besides those of the tests.
        check: for an input that is accepted, asserts what `said` says of the run directory or, for
            another program than bench, of the folder.
    """

    given: str
    said: str
    arguments: tuple[str, ...]
    prepare: Prepare = nothing
    spoil: Prepare | None = None
    program: str = "bench"
    exit_code: int = 2
    own_process: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Path], None] | None = None


def setting(said: str, *arguments: str) -> Case:
    """A case whose arguments say best what it is."""
    return Case(" ".join(f"`{argument}`" for argument in arguments), said, arguments)


def line(said: str, *arguments: str) -> Case:
    """The same of a command line that is refused before any job of it starts."""
    given = " ".join(f"`{argument}`" for argument in arguments)
    return Case(given, said, arguments, program="bench.cli")
