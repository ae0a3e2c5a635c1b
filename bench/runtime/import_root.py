"""Which packages `models` and `conf` are: those beside this one, wherever a command is given.

`python -m` puts the working directory first on the path, and many projects have a folder `models/`,
`conf/` or a `conf.py` of their own. A finder of these two names alone leaves the path as it is.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
"""Where this project's packages are: a checkout, or a folder of installed packages."""

NAMES = ("models", "conf")
"""Packages of this project with names that others have as well."""


class Beside:
    """Finds the packages of `NAMES` in `ROOT`, and nothing else; one of Python's finders."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification of one of our packages; None for any other module."""
        del path, target
        file = ROOT / fullname / "__init__.py"
        if fullname not in NAMES or not file.is_file():
            return None
        return spec_from_file_location(fullname, file)


def find_ours() -> None:
    """Have Python look beside this package first, once in a process."""
    if not any(isinstance(finder, Beside) for finder in sys.meta_path):
        sys.meta_path.insert(0, Beside())
