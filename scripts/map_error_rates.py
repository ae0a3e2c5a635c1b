"""How often cells of the map are called settled, or equal, though they are not: by simulation.

    python scripts/map_error_rates.py

A simulated map has 3 panels of 4 rows and 4 budgets, and five families. log FIDs of a run deviate
from the family's curve by a normal number that is shared by its budgets (two thirds of the
variance) and one of each budget.
"nobody": all families are equal everywhere, every settled cell is false.
"chosen": all are equal, and the first family is the best of five models on earlier seeds.
"two": two families are equal and far ahead of the others, and their runs spread differently.
"half": in every second row one family is ahead by four standard deviations; the others are equal.
"edge": the two best families differ by exactly the margin, every cell called equal is false.
Printed are the share of maps with a false verdict, the expected share of false ones among those
called settled or equal (the false discovery rate, which is to be at most 5 %), and the share of
true leads that are found. The 200 maps of each kind take about six minutes of one core.
"""

import argparse
import math
from dataclasses import replace

import numpy as np

from bench.compare.map.contenders import Contender, Point, best_on_earlier_seeds
from bench.compare.map.verdicts import make_cell, settle

FAMILIES, ROWS, BUDGETS = 5, 12, (15.0, 30.0, 60.0, 120.0)
SPREAD, MARGIN = 0.1, 1.1
SHARED = 2 / 3
KINDS = ("nobody", "chosen", "two", "half", "edge")


def row(
    rng: np.random.Generator, seeds: int, leads: np.ndarray, spread: np.ndarray
) -> list[Contender]:
    """One row: FIDs of all families and seeds along the budgets.

    Args:
        rng: random numbers.
        seeds: number of seeds.
        leads: how much lower log FID of each family is, (FAMILIES,).
        spread: standard deviation of log FID of each family over seeds, (FAMILIES,).
    """
    shared = rng.normal(size=(FAMILIES, seeds, 1)) * math.sqrt(SHARED)
    own = rng.normal(size=(FAMILIES, seeds, len(BUDGETS))) * math.sqrt(1 - SHARED)
    fids = np.exp(math.log(10) - leads[:, None, None] + spread[:, None, None] * (shared + own))
    return [
        Contender(
            f"family {k}",
            "",
            "",
            {
                str(seed): [
                    (budget, Point(float(fid), False, False))
                    for budget, fid in zip(BUDGETS, fids[k, seed], strict=True)
                ]
                for seed in range(seeds)
            },
            math.nan,
            0,
        )
        for k in range(FAMILIES)
    ]


def one_map(
    rng: np.random.Generator, kind: str, seeds: int, *, sequential: bool
) -> tuple[int, int, int, int]:
    """Numbers of verdicts, of false ones, of true leads, and of those that are found."""
    cells, truly = [], []
    for k in range(ROWS):
        leads, spread = np.zeros(FAMILIES), np.full(FAMILIES, SPREAD)
        ahead = kind == "half" and k % 2 == 0
        if ahead:
            leads[2] = 4 * SPREAD * math.sqrt(2)  # four standard deviations of the differences
        if kind == "two":
            leads[:2], spread[0] = 2, SPREAD / 4
        if kind == "edge":
            leads[:] = [2, 2 - math.log(MARGIN), 0, 0, 0]
        made = row(rng, seeds, leads, spread)
        if kind == "chosen":
            several = [each.points for each in row(rng, seeds, leads, spread)]
            made[0] = replace(made[0], points=best_on_earlier_seeds(several))
        for budget in BUDGETS:
            cells.append(make_cell(made, budget, None, sequential=sequential, margin=MARGIN))
            truly.append(ahead)
    verdicts = false = found = 0
    for cell, ahead in zip(settle(cells), truly, strict=True):
        if cell.state == "settled" and kind != "edge":
            verdicts += 1
            right = ahead and cell.leader is not None and cell.leader.contender.family == "family 2"
            false += not right
            found += right
        if cell.state == "equal" and kind == "edge":
            verdicts += 1
            false += 1
    return verdicts, false, sum(truly), found


def main() -> None:
    """Simulate and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--maps", type=int, default=200, help="number of maps of each kind")
    maps = parser.parse_args().maps
    print("| seeds | tests | maps | any false verdict | false of all verdicts | leads found |")
    print("|--:|---|---|--:|--:|--:|")
    for seeds in (3, 5, 8):
        for sequential in (False, True):
            for kind in KINDS:
                rng = np.random.default_rng((seeds, sequential, KINDS.index(kind)))
                counts = np.array(
                    [one_map(rng, kind, seeds, sequential=sequential) for _ in range(maps)]
                )
                verdicts, false, leads, found = counts.T
                share = np.mean(false / np.maximum(verdicts, 1))
                power = f"{found.sum() / leads.sum():.1%}" if leads.sum() else "–"
                tests = "evidence" if sequential else "Student's t"
                any_false = np.mean(false > 0)
                print(
                    f"| {seeds} | {tests} | {kind} | {any_false:.1%} | {share:.1%} | {power} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
