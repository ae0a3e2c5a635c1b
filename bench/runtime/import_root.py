"""Import of this project's `models` and `conf`, independent of the working directory.

`python -m` puts the working directory first on the path, and many projects have a folder `models/`,
`conf/` or a `conf.py` of their own. A finder for these two names leaves the path unchanged.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
"""Folder of this project's packages: a checkout, or installed packages."""

NAMES = ("models", "conf")
"""Packages of this project with common names."""


class Beside:
    """Finds the packages of `NAMES` in `ROOT`, and nothing else; one of Python's finders."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Specification of a package in `NAMES`; None for any other module."""
        del path, target
        file = ROOT / fullname / "__init__.py"
        if fullname not in NAMES or not file.is_file():
            return None
        return spec_from_file_location(fullname, file)


def find_ours() -> None:
    """Install the finder, once per process."""
    if not any(isinstance(finder, Beside) for finder in sys.meta_path):
        sys.meta_path.insert(0, Beside())
