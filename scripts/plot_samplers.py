"""Plot FID against network evaluations per sample, next to DDIM's published curves.

Left: FID of one trained model with several samplers, with bootstrap intervals.
Right: each curve divided by its own value at 100 evaluations, so that its shape can be compared
with that of Song et al. 2021, Table 1 (CIFAR-10, Inception's features, 50,000 samples). FIDs of two
extractors have no common scale; their relative decrease with the steps may be compared, with care.

Command: python scripts/plot_samplers.py TABLE.csv PICTURE.png, as in docs/evidence/commands_zoo.sh.
"""

import argparse
import csv
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, ScalarFormatter

METHODS = {
    "ddpm": ("ancestral", "C3"),
    "ddim": ("DDIM", "C0"),
    "dpmpp": ("DPM-Solver++(2M)", "C2"),
}

PUBLISHED: dict[str, dict[float, float]] = {
    "ddim": {10: 13.36, 20: 6.84, 50: 4.67, 100: 4.16},
    "ddpm": {10: 367.43, 20: 133.37, 50: 32.72, 100: 9.99},
}
"""FID by steps, Song et al. 2021, Table 1, CIFAR-10: η = 0, and σ̂, whose larger variance
(`fixed_large`) is the one of the ancestral samplers here."""

SCALED_AT = 100


class Point(NamedTuple):
    """A sampler of the model: its cost, its FID and the FID's interval."""

    nfe: float
    fid: float
    low: float
    high: float


def read(file: Path) -> dict[str, list[Point]]:
    """What a comparison's CSV holds of each known method, sorted by evaluations.

    Raises:
        ValueError: the file holds no row of a known method, or rows of several models or seeds.
    """
    with file.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["nfe_mean"] and row["fid_domain_mean"]]
    if len({(row["dataset"], row["model"], row["seeds"]) for row in rows}) != 1:
        raise ValueError(f"{file} must hold the samplers of one model and one seed")
    columns = ("nfe_mean", "fid_domain_mean", "fid_low_domain_mean", "fid_high_domain_mean")
    found: dict[str, list[Point]] = {name: [] for name in METHODS}
    for row in rows:
        method = row["sampler"].split("-")[0]
        if method in METHODS:
            found[method].append(Point(*(float(row[column]) for column in columns)))
    if not any(found.values()):
        raise ValueError(f"{file} has no sampler of {', '.join(METHODS)}")
    return {name: sorted(points) for name, points in found.items() if points}


def plot_fid(axes: Axes, curves: dict[str, list[Point]]) -> None:
    """FIDs with their intervals, each method a little aside so that they stay apart."""
    for shift, (name, points) in zip((0.97, 1.0, 1.03), curves.items(), strict=False):
        label, colour = METHODS[name]
        below = [point.fid - point.low for point in points]
        above = [point.high - point.fid for point in points]
        axes.errorbar(
            [point.nfe * shift for point in points],
            [point.fid for point in points],
            yerr=[below, above],
            label=label,
            color=colour,
            marker="o",
            markersize=4,
            capsize=2,
        )
    axes.set_ylabel("FID (domain), 95 % interval over samples")


def plot_shape(axes: Axes, curves: dict[str, list[Point]]) -> None:
    """Each curve over its own value at `SCALED_AT`, ours drawn through, published dashed."""
    for name, published in PUBLISHED.items():
        if name not in curves:
            continue
        label, colour = METHODS[name]
        ours = {point.nfe: point.fid for point in curves[name]}
        plot_scaled(axes, ours, "o-", color=colour, label=label)
        noise = "η = 0" if name == "ddim" else "σ̂"
        plot_scaled(axes, published, "s--", color=colour, label=f"published, {noise}", alpha=0.6)
    axes.axhline(1.0, color="grey", linewidth=0.8)
    axes.set_ylabel(f"FID / FID at {SCALED_AT} evaluations")


def plot_scaled(axes: Axes, fids: dict[float, float], style: str, **options: Any) -> None:
    """One curve of FID by evaluations, over its value at `SCALED_AT`."""
    scaled = [fid / fids[SCALED_AT] for fid in fids.values()]
    axes.plot(list(fids), scaled, style, markersize=4, **options)


def main() -> None:
    """Read the CSV and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("csv", type=Path, help="written by bench.compare")
    parser.add_argument("figure", type=Path)
    options = parser.parse_args()
    curves = read(options.csv)
    mpl.use("Agg")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    plot_fid(left, curves)
    plot_shape(right, curves)
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks([5, 10, 20, 50, 100], labels=["5", "10", "20", "50", "100"])
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.minorticks_off()
        axes.set_xlabel("network evaluations per sample")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    options.figure.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.figure, dpi=120)


if __name__ == "__main__":
    main()
