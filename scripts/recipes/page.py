"""Write docs/recipes.md from page.md and the records in docs/evidence/recipes/*.csv.

Command: python scripts/recipes/page.py
"""

import csv
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "docs" / "evidence" / "recipes"
TEMPLATE = Path(__file__).with_suffix(".md")
PAGE = ROOT / "docs" / "recipes.md"
TARGETS = {
    "gan_r1_ema_small": ("dcgan_small", 6.3, 120),
    "v_diffusion_small": ("ddpm_small", 13.5, 40),
}
"""Of each recipe: the plain model, the FID that it reached in 240 s, and the seconds aimed at."""

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


def along(rows: list[dict[str, str]]) -> str:
    """FIDs along the runs of the recipes and of the plain models, a row per model and seed."""
    plain = {name for name, _, _ in TARGETS.values()}
    order = {name: k for k, name in enumerate((*TARGETS, *sorted(plain)))}
    runs: defaultdict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        runs[row["model"], row["seed"]].append(row)
    lines = [
        "| model | seed | FID (domain) after seconds of training | FID aimed at | reached by |",
        "|---|---:|---|---:|---:|",
    ]
    for model, seed in sorted(runs, key=lambda run: (order[run[0]], run[1])):
        points = [(float(r["train_seconds"]), float(r["fid_domain"])) for r in runs[model, seed]]
        shown = ", ".join(f"{fid:.1f} ({seconds:.0f})" for seconds, fid in points)
        aim, reached = "–", "–"
        if model in TARGETS:
            _, fid_aimed, within = TARGETS[model]
            aim = f"{fid_aimed} in {within} s"
            times = [seconds for seconds, fid in points if fid <= fid_aimed]
            reached = f"{min(times):.0f} s" if times else "not reached"
        lines.append(f"| {model} | {seed} | {shown} | {aim} | {reached} |")
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    families = {"GAN": read("gan.csv"), "diffusion": read("diffusion.csv")}
    (seed,) = {row["seed"] for rows in families.values() for row in rows}
    return TEMPLATE.read_text().format(
        seed=seed,
        effort=effort(families),
        gan=table(families["GAN"]),
        diffusion=table(families["diffusion"]),
        along=along(read("time_to_quality.csv")),
    )


if __name__ == "__main__":
    PAGE.write_text(page())
