"""Pictures of samples beside the tables: the last ones of every sampler, of one seed for all."""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.compare.cells import natural
from bench.compare.comparison import Comparison, Entry
from bench.compare.read import Run

TRAJECTORY = "_trajectory"
"""Ends the names of pictures that show samples on their way from noise."""


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
    comparison: Comparison,
    runs: Sequence[Run],
    folder: str,
    *,
    one_data_set: bool = True,
    kind: str = "",
) -> list[Grid]:
    """The grids of a comparison in the order of its entries; runs without pictures have none.

    All are of one seed where all entries have it: samplers that draw from the same latents then
    start from the same ones.

    Args:
        comparison: whose samples are wanted.
        runs: the runs that it compares.
        folder: of the pictures, below the folder of the tables.
        one_data_set: whether the folder holds the pictures of this data set alone.
        kind: ends the names of the files; empty for samples, TRAJECTORY for their way from noise.
    """
    found = {(run.model, run.variant, run.seed): run for run in runs}
    entries = [entry for entry in comparison.entries if entry.finished]
    shared = common_seed(entries)
    grids = []
    for entry in entries:
        seed = shared if shared in entry.seeds else entry.seeds[0]
        run = found[entry.model, entry.variant, seed]
        point = int(run.last.numbers("checkpoint")[0])
        source = run.path / "samples" / f"checkpoint={point}_{entry.sampler}{kind}.png"
        if source.is_symlink() or not source.is_file():
            continue
        words = [entry.model, entry.sampler]
        if comparison.values:  # the other tables have the same model, from other runs
            words += [entry.variant, f"seed={seed}"]
        elif entry.model in comparison.ambiguous_models:
            words.insert(1, entry.variant)
        if not one_data_set:
            words.insert(0, comparison.dataset)
        title = f"{comparison.label(entry)}, {entry.sampler}, seed {seed}"
        grids.append(Grid(title, source, f"{folder}/{'_'.join(words)}{kind}.png"))
    return grids


def common_seed(entries: Sequence[Entry]) -> str:
    """The seed that most entries have, of several the lowest; empty without entries."""
    count = Counter(seed for entry in entries for seed in entry.seeds)
    return min(count, key=lambda seed: (-count[seed], natural(seed)), default="")


def copy_grids(grids: Sequence[Grid], out: Path) -> list[Path]:
    """Put the pictures beside the tables; the copies."""
    copies = [out / grid.name for grid in grids]
    for grid, copy in zip(grids, copies, strict=True):
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(grid.source, copy)
    return copies
