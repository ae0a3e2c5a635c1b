"""Sample grids beside the tables: the last one of every sampler, of the lowest finished seed."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.compare.read import Run
from bench.compare.statistics import Comparison, Entry


@dataclass(frozen=True)
class Grid:
    """One picture of samples.

    Attributes:
        title: what drew it.
        source: the picture in the run directory.
        name: its path below the folder of the tables.
    """

    title: str
    source: Path
    name: str


def find_grids(
    comparison: Comparison, runs: Sequence[Run], folder: str, *, one_data_set: bool = True
) -> list[Grid]:
    """The grids of a comparison in the order of its entries; runs without pictures have none.

    Args:
        comparison: whose samples are wanted.
        runs: the runs that it compares.
        folder: of the pictures, below the folder of the tables.
        one_data_set: whether the folder holds the pictures of this data set alone.
    """
    found = {(run.model, run.variant, run.seed): run for run in runs}
    grids = []
    for entry in comparison.entries:
        if not entry.finished:
            continue
        source = _last_grid(entry, found[entry.model, entry.variant, entry.seeds[0]])
        if source is None:
            continue
        words = [entry.model, entry.sampler]
        if comparison.values:  # the other tables have the same model, from other runs
            words += [entry.variant, f"seed={entry.seeds[0]}"]
        elif entry.model in comparison.ambiguous_models:
            words.insert(1, entry.variant)
        if not one_data_set:
            words.insert(0, comparison.dataset)
        title = f"{comparison.label(entry)}, {entry.sampler}, seed {entry.seeds[0]}"
        grids.append(Grid(title, source, f"{folder}/{'_'.join(words)}.png"))
    return grids


def copy_grids(grids: Sequence[Grid], out: Path) -> None:
    """Put the pictures beside the tables."""
    for grid in grids:
        target = out / grid.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(grid.source, target)


def gallery(grids: Sequence[Grid]) -> str:
    """The pictures as Markdown, each under its title."""
    return "\n\n".join(f"**{grid.title}**\n\n![{grid.title}]({grid.name})" for grid in grids)


def _last_grid(entry: Entry, run: Run) -> Path | None:
    checkpoint = int(run.rows["checkpoint"].iloc[0])
    path = run.path / "samples" / f"checkpoint={checkpoint}_{entry.sampler}.png"
    return path if path.exists() else None
