"""Lowest versions of this package's requirements, as pyproject.toml declares them.

Command: scripts/test_lower_bounds, which creates the environment. torch and torchvision with their
dependencies (gigabytes) are linked from the environment that runs this instead of being installed
again.
"""

import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

HEAVY = ("torch", "torchvision")
"""Packages that are taken as they are installed."""

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def main(environment: Path) -> None:
    """Link heavy packages into a virtual environment; print the others' lowest versions."""
    light = [r for r in requirements() if r.name not in HEAVY]
    folder = environment / "heavy"
    folder.mkdir()
    link(folder, leave={named(requirement.name) for requirement in light})
    (site,) = environment.glob("lib/python*/site-packages")
    (site / "heavy.pth").write_text(f"{folder.resolve()}\n", encoding="utf-8")
    for requirement in light:
        print(f"{requirement.name}=={lowest(requirement)}")


def requirements() -> list[Requirement]:
    """What the package needs, without its extras."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    return [Requirement(line) for line in project["dependencies"]]


def lowest(requirement: Requirement) -> str:
    """The version after `>=`.

    Raises:
        ValueError: the requirement has none.
    """
    found = [s.version for s in requirement.specifier if s.operator == ">="]
    if len(found) != 1:
        raise ValueError(f"pyproject.toml: {requirement} must have one lower bound, as in name>=1")
    return found[0]


def link(folder: Path, leave: set[str]) -> None:
    """Link every installed file of the heavy packages and their dependencies."""
    waiting, seen = [(name, "") for name in HEAVY], set(leave)
    while waiting:
        name, extra = waiting.pop()
        distribution = importlib.metadata.distribution(name)
        for line in distribution.requires or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                wanted = [(needed.name, extra) for extra in needed.extras or {""}]
                waiting += [pair for pair in wanted if named(pair[0]) not in leave]
        if named(name) in seen:
            continue
        seen.add(named(name))
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            target = Path(str(distribution.locate_file(top)))
            if target.suffix != ".pth" and not (folder / top).exists():
                (folder / top).symlink_to(target.resolve())


def named(name: str) -> str:
    """A package's normalised name."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
