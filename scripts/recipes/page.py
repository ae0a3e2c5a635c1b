"""Write docs/recipes.md from page.md and the records of the search, results/recipes/*.csv.

Command: python scripts/recipes/page.py
"""

import csv
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "results" / "recipes"
TEMPLATE = Path(__file__).with_suffix(".md")
PAGE = ROOT / "docs" / "recipes.md"
FORMER_STEP = 0.227
"""Seconds of ddpm_small's step at commit 19b336e on an idle core; CPU times are scaled to it."""


def read(name: str) -> list[dict[str, str]]:
    """The rows of a record."""
    with (RECORDS / name).open(newline="") as file:
        return list(csv.DictReader(file))


def ratios(rows: list[dict[str, str]]) -> dict[str, float]:
    """CPU time of each candidate's step in steps of the former ddpm_small.

    Candidates that differ in their number of steps only share the mean of their measurements.
    """
    measured = {r["candidate"]: float(r["of_former_ddpm_small"]) for r in read("step_times.csv")}
    recipes = {row["candidate"]: (row["model"], row["overrides"]) for row in rows}
    alike = {
        name: [measured[other] for other in recipes if recipes[other] == recipe]
        for name, recipe in recipes.items()
    }
    return {name: sum(values) / len(values) for name, values in alike.items()}


def table(rows: list[dict[str, str]]) -> str:
    """A row per candidate and number of steps, in the order in which they were tried."""
    steps = ratios(rows)
    points: defaultdict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        points[row["candidate"], row["step"]].append(row)
    lines = [
        "| candidate | parameters | steps | seconds | FID, raw | averaged | recall | class KL |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (candidate, step), scored in points.items():
        raw = [row for row in scored if row["weights"] == "raw"]
        averaged = [row for row in scored if row["weights"] != "raw"]
        best = min(averaged or raw, key=lambda row: float(row["fid_domain"]))
        samplers = len({row["sampler"] for row in averaged})
        cells = [
            candidate,
            f"{int(best['parameters']) / 1e6:.2f} M",
            step,
            f"{int(step) * steps[candidate] * FORMER_STEP:.0f}",
            raw[0]["fid_domain"] if raw else "–",
            ", ".join(f"{r['fid_domain']} ({r['sampler']})" for r in averaged)
            if samplers > 1
            else best["fid_domain"],
            best["recall_domain"],
            best["class_kl"],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def effort(families: dict[str, list[dict[str, str]]]) -> str:
    """How many candidates were trained for how long."""
    words = []
    for family, rows in families.items():
        seconds: dict[str, float] = {}
        for row in rows:
            seconds[row["candidate"]] = float(row["cpu_seconds"])
        total = sum(seconds.values())
        words.append(f"{len(seconds)} {family} candidates, {total:.0f} s of CPU time in training")
    return "; ".join(words)


def page() -> str:
    """The whole page."""
    families = {"GAN": read("gan.csv"), "diffusion": read("diffusion.csv")}
    (seed,) = {row["seed"] for rows in families.values() for row in rows}
    return TEMPLATE.read_text().format(
        seed=seed,
        effort=effort(families),
        gan=table(families["GAN"]),
        diffusion=table(families["diffusion"]),
    )


if __name__ == "__main__":
    PAGE.write_text(page())
