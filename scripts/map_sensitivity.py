"""What the map's settled cells depend on: a seed, the kind of test, and the correction.

    python scripts/map_sensitivity.py RUNS [--without fashion_mnist_16 0] [--price 1]

Prints how many cells of each panel are settled, for a sample at any price or at most so many ms: as
the map has them; by evidence that may be looked at after every seed; and by the correction of
Benjamini & Yekutieli (2001) instead of closed testing. The first two also without a seed of a data
set. Below each stand the cells that are settled on the map, and not then.
"""

import argparse
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from scipy.stats import false_discovery_control

from bench.compare.claims.declaration import MARGIN
from bench.compare.cli import gather
from bench.compare.map.grid import ANY, Map, make_map
from bench.compare.map.verdicts import LEVEL, Cell, make_cell, settle
from bench.compare.protocols import AXES

Place = tuple[int, int, int]


def the_map(runs: Sequence[Path]) -> Map:
    """The map of run directories, as `bench.compare --map` makes it."""
    pages, _ = gather(runs, mixed=AXES, name=None)
    return make_map([s.comparison for sections in pages.values() for s in sections])


def by_evidence(made: Map, price: float) -> dict[Place, Cell]:
    """The cells if seeds had been added one by one, and looked at after every one."""
    found = {}
    for i, panel in enumerate(made.panels):
        for j, row in enumerate(panel.rows):
            entered = made.contenders(panel, row, price)
            for k, budget in enumerate(panel.columns):
                before = panel.columns[k - 1] if k else None
                cell = make_cell(entered, budget, before, sequential=True, margin=MARGIN)
                found[i, j, k] = cell
    return dict(zip(found, settle(list(found.values())), strict=True))


def benjamini_yekutieli(cells: dict[Place, Cell]) -> dict[Place, Cell]:
    """The cells with p values adjusted by the method that closed testing has replaced."""
    tested = [place for place, cell in cells.items() if not math.isnan(cell.p)]
    adjusted = false_discovery_control([cells[place].p for place in tested], method="by")
    found = dict(cells)
    for place, p in zip(tested, adjusted.tolist(), strict=True):
        lost = cells[place].state == "settled" and p > LEVEL
        state = "open" if lost else cells[place].state
        found[place] = replace(cells[place], adjusted=p, state=state)
    return found


def said(made: Map, cells: dict[Place, Cell]) -> str:
    """How many cells of each panel are settled."""
    settled = Counter(place[0] for place, cell in cells.items() if cell.state == "settled")
    total = Counter(place[0] for place in cells)
    titles = [panel.title for panel in made.panels]
    return "; ".join(f"{title}: {settled[i]} of {total[i]}" for i, title in enumerate(titles))


def lost(made: Map, cells: dict[Place, Cell], other: dict[Place, Cell]) -> Iterator[str]:
    """The cells that are settled among the first ones, and not among the others."""
    for (i, j, k), cell in cells.items():
        if cell.state == "settled" and other[i, j, k].state != "settled":
            panel = made.panels[i]
            where = f"{panel.title}, {panel.rows[j].title}, {panel.budget(panel.columns[k])}"
            yield f"  {where}: p {cell.adjusted:.3f}, then {other[i, j, k].adjusted:.3f}"


def main() -> None:
    """Print what is settled."""
    parser = argparse.ArgumentParser(description="What the settled cells of a map depend on.")
    parser.add_argument("runs", type=Path)
    parser.add_argument("--without", nargs=2, metavar=("DATASET", "SEED"))
    parser.add_argument("--price", type=float, default=ANY, help="most ms per sample")
    options = parser.parse_args()
    price = options.price
    made = the_map([options.runs])
    cells = dict(made.cells(price))
    print("as on the map:", said(made, cells))
    others = {
        "by evidence": by_evidence(made, price),
        "by Benjamini & Yekutieli's method": benjamini_yekutieli(cells),
    }
    if options.without:
        dataset, seed = options.without
        every = {file.parent for file in options.runs.rglob("status.json")}
        of_seed = (options.runs / dataset).glob(f"*/*/seed={seed}")
        fewer = the_map(sorted(every - {run for run in of_seed if run.parts[-3] != "real"}))
        less = f"without seed {seed} of {dataset}"
        others[less] = dict(fewer.cells(price))
        others[f"{less}, by evidence"] = by_evidence(fewer, price)
    for name, other in others.items():
        print(f"{name}:", said(made, other))
        for line in lost(made, cells, other):
            print(line)


if __name__ == "__main__":
    main()
