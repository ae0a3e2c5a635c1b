"""Sample grids of a page: the last grid of every sampler, of one common seed."""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.compare.cells import natural
from bench.compare.comparison import Comparison, Entry
from bench.compare.read import Run

TRAJECTORY = "_trajectory"
"""Suffix of the names of pictures that show intermediate states of sampling."""


@dataclass(frozen=True)
class Grid:
    """One picture of samples.

    Attributes:
        title: model, sampler and seed.
        source: the picture in the run directory.
        name: path of its copy, relative to the output folder.
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
    """The grids of a comparison, in the order of its entries; runs without pictures have none.

    If possible all grids are of one seed, so that comparable samplers start from equal latents.

    Args:
        comparison: the comparison.
        runs: its runs.
        folder: folder of the pictures, relative to the output folder.
        one_data_set: whether the folder is only for this data set.
        kind: suffix of the file names; empty for samples, or TRAJECTORY.
    """
    found = {(run.model, run.variant, run.seed): run for run in runs}
    entries = [entry for entry in comparison.entries if entry.finished]
    shared = common_seed(entries)
    grids = []
    for entry in entries:
        seed = shown_seed(entry, shared)
        source = picture_of(found[entry.model, entry.variant, seed], entry.sampler, kind)
        if source is None:
            continue
        words = [entry.model, entry.sampler]
        if comparison.values:  # other tables may have the same model
            words += [entry.variant, f"seed={seed}"]
        elif entry.model in comparison.ambiguous_models:
            words.insert(1, entry.variant)
        if not one_data_set:
            words.insert(0, comparison.dataset)
        title = f"{comparison.label(entry)}, {entry.sampler}, seed {seed}"
        grids.append(Grid(title, source, f"{folder}/{'_'.join(words)}{kind}.png"))
    return grids


def picture_of(run: Run, sampler: str, kind: str = "") -> Path | None:
    """The picture of a sampler at a run's last evaluation point; None if there is none.

    Args:
        run: a run with a result.
        sampler: name of the sampler.
        kind: suffix of the file name; empty for samples, or TRAJECTORY.
    """
    point = int(run.last.numbers("checkpoint")[0])
    source = run.path / "samples" / f"checkpoint={point}_{sampler}{kind}.png"
    return None if source.is_symlink() or not source.is_file() else source


def shown_seed(entry: Entry, shared: str) -> str:
    """The seed whose samples stand for an entry: the shared one, or its first."""
    return shared if shared in entry.seeds else entry.seeds[0]


def common_seed(entries: Sequence[Entry]) -> str:
    """The seed that most entries have, the lowest if there are several; empty without entries."""
    count = Counter(seed for entry in entries for seed in entry.seeds)
    return min(count, key=lambda seed: (-count[seed], natural(seed)), default="")


def copy_grids(grids: Sequence[Grid], out: Path) -> list[Path]:
    """Copy the pictures to the output folder; returns the copies."""
    copies = [out / grid.name for grid in grids]
    for grid, copy in zip(grids, copies, strict=True):
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(grid.source, copy)
    return copies
