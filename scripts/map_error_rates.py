"""How often verdicts and intervals of the map are wrong: by simulation.

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

A second table has the crossovers of two families whose expected curves cross at 1 min 58 s or at
3 min 14 s of 4 min: how often the 95 % interval holds that budget, how often one of its ends is not
known ("never", "from the beginning"), and the median ratio of the ends where both are.
"""

import argparse
import math
from dataclasses import replace

import numpy as np

from bench.compare.map.contenders import Contender, Point, best_on_earlier_seeds
from bench.compare.map.crossings import compare
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


def one_crossover(rng: np.random.Generator, seeds: int, factor: float) -> tuple[bool, float]:
    """Whether an interval holds the true crossover, and the ratio of its ends.

    log FIDs fall like budget^-0.2 and budget^-0.7, and those of the second family are larger by a
    factor after a minute, so that the curves cross after factor^2 minutes.

    Args:
        rng: random numbers.
        seeds: number of seeds.
        factor: by which the second family is behind after a minute.
    """
    budgets = (*BUDGETS, 2 * BUDGETS[-1])
    entered = []
    for family, at_a_minute, slope in (("first", 10.0, 0.2), ("second", 10.0 * factor, 0.7)):
        shared = rng.normal(size=(seeds, 1)) * math.sqrt(SHARED)
        own = rng.normal(size=(seeds, len(budgets))) * math.sqrt(1 - SHARED)
        curve = at_a_minute * (np.array(budgets) / 60) ** -slope
        fids = curve * np.exp(SPREAD * (shared + own))
        points = {
            str(seed): [
                (budget, Point(float(fid), False, False))
                for budget, fid in zip(budgets, row, strict=True)
            ]
            for seed, row in enumerate(fids)
        }
        entered.append(Contender(family, "", "", points, math.nan, 0))
    found = compare(entered[0], entered[1], budgets)
    if found is None or found.first.family != "first":
        return False, math.inf
    ratio = found.high / found.low if found.low else math.inf
    return found.low <= 60 * factor**2 <= found.high, ratio


def crossovers(number: int) -> None:
    """Simulate crossovers and print a table."""
    print("\n| seeds | curves cross at | interval holds it | end unknown | ratio of the ends |")
    print("|--:|--:|--:|--:|--:|")
    for seeds in (3, 5, 8):
        for factor in (1.4, 1.8):
            rng = np.random.default_rng((seeds, round(10 * factor)))
            held, ratios = np.array([one_crossover(rng, seeds, factor) for _ in range(number)]).T
            known = ratios[np.isfinite(ratios)]
            ends = f"{np.median(known):.2f}" if len(known) else "–"
            at, open_end = f"{60 * factor**2:.0f} s", 1 - len(known) / number
            print(f"| {seeds} | {at} | {held.mean():.1%} | {open_end:.1%} | {ends} |", flush=True)


def main() -> None:
    """Simulate and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--maps", type=int, default=200, help="number of maps of each kind")
    parser.add_argument("--crossovers", type=int, default=2000, help="number of each kind")
    options = parser.parse_args()
    maps = options.maps
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
    crossovers(options.crossovers)


if __name__ == "__main__":
    main()
