"""How often claims whose null hypotheses hold get a verdict, by simulation of whole projects.

Every run of experiment=claims_small is written once with synthetic scores and read as
bench.compare reads it. Then the scores are sampled anew for every project, so that each test of a
claim lies exactly on its threshold, and judged by the code that judges real runs: at five seeds,
and after every seed up to thirty by the rule of bench.decide. Prints the table of
docs/claims.md.
Command: python scripts/claims_error_rates.py [--projects 500]
"""

import argparse
import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from bench.command_line import expand
from bench.compare.claims import estimates, grids, measurements, pooling
from bench.compare.claims.declaration import MARGIN, Claim, Criterion, read_claims
from bench.compare.claims.measurements import Counts, Seeds
from bench.compare.claims.pooling import by_protocol, measure
from bench.compare.claims.selection import Group, Selection
from bench.compare.claims.verdicts import (
    EQUAL,
    SETTLED,
    Finding,
    Judgement,
    judge_claim,
    over_all_claims,
)
from bench.compare.comparison import Comparison, compare_runs
from bench.compare.discoveries import false_discovery
from bench.compare.read import Run, read_runs
from bench.compare.stats import MIN_SEEDS, SIGNIFICANCE
from bench.runtime.atomic_files import csv_text
from bench.schema import eval_columns

T = TypeVar("T")

SEEDS = 30
"""Largest number of seeds of a project that grows."""

FIXED = 5
"""Seeds of a sweep."""

SAMPLERS = {
    "real": ["held-out"],
    "ddpm": ["ddim-10"],
    "x0": ["ddim-10"],
    "v_diffusion": ["dpmpp-10"],
    "rectified_flow": ["heun-5"],
    "consistency": ["consistency-1", "consistency-2"],
    "meanflow": ["meanflow-1"],
    "hybrid": ["draft", "ddim-20", "hybrid-ddim-20-last-5"],
}
"""Samplers of models whose job lists none, by the start of their name; others have "generator"."""

LEVELS = {"x0_diffusion_small": 1.25, "meanflow_small": 1.1, "consistency_small": 1.1}
LEVELS |= {"drifting_small": 1.1}
"""FID of a model where a claim compares it with a threshold that is not 1."""

MODES = {"ring8": 8, "grid25": 25, "stacked_digits": 1000}
NOISE = 0.3
"""Standard deviation of log FID over seeds."""

COLLAPSE = 2.0
"""What a collapse adds to log FID."""


@dataclass(frozen=True)
class Kind:
    """What noise the runs of a project have.

    Attributes:
        name: for the table.
        collapses: share of the runs that collapse.
    """

    name: str
    collapses: float


KINDS = (Kind("normal noise", 0.0), Kind("one run in ten collapses", 0.1))


def jobs() -> Iterator[dict[str, str]]:
    """The settings of every job of claims_small, without repeats for seeds."""
    for line in expand(["-m", "experiment=claims_small"]):
        parsed = OverridesParser.create().parse_overrides(line[1:])
        for batch in BasicSweeper.split_arguments(parsed, None):
            for job in batch:
                settings = dict(word.lstrip("+").split("=", 1) for word in job)
                if settings.get("seed", "0") == "0":
                    yield settings | {"words": " ".join(job)}


def write_template(folder: Path) -> None:
    """Write every run with thirty seeds; all scores are 1 until a project is sampled."""
    variants: dict[tuple[str, str], dict[str, int]] = {}
    for settings in jobs():
        model, size = settings["model"], settings.get("dataset.image_size", "")
        named = settings.get("dataset.name", settings["dataset"])
        dataset = f"{settings['dataset']}_{size}" if size else named
        words = settings["words"].split()
        changes = " ".join(word for word in words if word.lstrip("+").startswith("model."))
        counted = variants.setdefault((dataset, model), {})
        if changes in counted:
            continue
        variant = str(counted.setdefault(changes, len(counted)))
        listed = settings.get("model.build.samplers", "").strip("[]")
        own = next((names for start, names in SAMPLERS.items() if model.startswith(start)), None)
        samplers = listed.split(",") if listed else own or ["generator"]
        points = int(settings.get("budget.checkpoints", "1"))
        for seed in range(1 if model == "real" else SEEDS):
            path = folder / dataset / model / variant / f"seed={seed}"
            identity = {"dataset": dataset, "model": model, "variant": variant, "seed": seed}
            identity |= {"overrides": changes, "samples": 360, "weights": "ema"}
            identity |= {"train_images": settings.get("dataset.train_images", "all")}
            identity |= {"budget": "" if model == "real" else "2 min"}
            _write(path, identity, samplers, points)


def _write(path: Path, identity: Mapping[str, object], samplers: list[str], points: int) -> None:
    path.mkdir(parents=True)
    columns = tuple(eval_columns(("domain",)))
    scores = [c for c in columns if c.endswith("_domain")]
    costs = ["modes", "latency_ms", "nfe", "train_flops", "gflops_per_sample", "parameters"]
    costs += ["conditional_accuracy", "accuracy", "accuracy_supervised", "train_gflops_per_image"]
    common = dict.fromkeys([*scores, *costs], 1) | dict(identity) | {"checkpoints": points}
    rows = [
        common | {"checkpoint": k, "sampler": sampler, "images": 1000 * k, "train_seconds": 8 * k}
        for k in range(1, points + 1)
        for sampler in samplers
    ]
    table = [[str(row.get(column, "")) for column in columns] for row in rows]
    (path / "eval.csv").write_text(csv_text(columns, table), encoding="utf-8")
    (path / "status.json").write_text(json.dumps({"status": "finished", "step": 1}))


class Project:
    """Runs whose scores are sampled anew, so that no claim holds and none fails.

    Args:
        folder: where `write_template` wrote.
    """

    def __init__(self, folder: Path) -> None:
        by_dataset: dict[str, list[Run]] = {}
        for run in read_runs([folder]):
            by_dataset.setdefault(run.dataset, []).append(run)
        self.comparisons: list[Comparison] = [compare_runs(runs) for runs in by_dataset.values()]
        self.runs = [run for comparison in self.comparisons for run in comparison.runs]
        self._first: dict[int, list[Comparison]] = {}

    def first(self, seeds: int) -> list[Comparison]:
        """The comparisons of the first seeds only."""
        if seeds not in self._first:
            self._first[seeds] = [
                replace(c, runs=tuple(run for run in c.runs if int(run.seed) < seeds))
                for c in self.comparisons
            ]
        return self._first[seeds]

    def draw(self, rng: np.random.Generator, kind: Kind) -> None:
        """Draw all scores of a project, in place."""
        split = rng.normal()  # of the images into those trained on and held-out ones
        names = {run.dataset: None for run in self.runs}
        floors = {name: 0.9 + 0.0158 * rng.normal(size=2) for name in names}
        for run in self.runs:
            rows = len(run.table)
            collapsed = rng.random() < kind.collapses
            values = _drawn(run, rng, rows, collapsed=collapsed, split=split)
            if run.model == "real":
                recall, coverage = floors[run.dataset]
                values |= {"recall_domain": recall, "coverage_domain": coverage}
            for column, drawn in values.items():
                run.table.values[run.table.layout.measured[column]] = drawn
            warned = rng.random() < 0.25  # as often as claims put their threshold
            words = "only 1 of 10 modes" if warned and run.model != "real" else ""
            run.table.words[run.table.layout.texts["warning"]] = words
            for name in ("last", "samplers"):
                run.__dict__.pop(name, None)


def _drawn(
    run: Run, rng: np.random.Generator, rows: int, *, collapsed: bool, split: float
) -> dict[str, Any]:
    """Scores of one run, (R,) each: every test of a claim lies on its threshold on average."""
    real, modes = run.model == "real", MODES.get(run.dataset, 10)
    samplers = np.array(run.table.texts("sampler"))
    done = run.table.numbers("checkpoint") / run.table.numbers("checkpoints")
    level = LEVELS.get(run.model, 1.0) * np.where(samplers == "ddim-20", 1 / 1.1, 1.0)
    if not run.model.startswith("hybrid"):
        level = np.full(rows, LEVELS.get(run.model, 1.0))
    noise = NOISE * rng.normal(size=rows) + COLLAPSE * collapsed
    hit = 0.9 * modes + 0.01 * modes * rng.normal(size=rows) + rng.random(rows)
    if run.model.startswith("ddpm"):  # as often at least 95 % as not
        hit = np.ceil(0.95 * modes) - (rng.random(rows) < 0.5)
    coverage = 0.9 * (0.5 if run.model == "x0_diffusion_small" else 0.25)
    slow = 100.0 if run.model == "v_diffusion_small" else 1.0
    scores: dict[str, Any] = {
        "fid_domain": 10 * level * np.exp(noise) * (3 - 2 * done),
        "recall_domain": np.clip(0.6 + 0.05 * rng.normal(size=rows) - 0.3 * collapsed, 0, 1),
        "coverage_domain": np.clip(coverage + 0.03 * rng.normal(size=rows), 0, 1),
        "precision_domain": np.clip(0.7 + 0.05 * rng.normal(size=rows), 0, 1),
        "duplicates_domain": 0.01 if real else np.clip(0.02 + 0.005 * rng.normal(size=rows), 0, 1),
        "nearest_trained_domain": 0.8 + 0.03 * split + 0.02 * rng.normal(),
        "nearest_trained_expected_domain": 0.8,
        "nearest_trained_error_domain": 0.036,
        "nn_ratio_domain": 1 + 0.03 * split + 0.02 * rng.normal(),
        "modes": modes if real else np.clip(np.floor(hit), 0, modes),
        "latency_ms": slow * np.exp(0.1 * rng.normal(size=rows)),
        "conditional_accuracy": 0.6 + 0.05 * rng.normal(size=rows),
        "accuracy": 0.7 + 0.03 * rng.normal(size=rows),
        "accuracy_supervised": 0.7 + 0.03 * rng.normal(size=rows),
        "train_flops": 1e9 * run.table.numbers("checkpoint"),
    }
    metrics = ("recall", "coverage", "precision")
    return scores | {
        f"{metric}_{side}_domain": scores[f"{metric}_domain"] + sign * 1.96 * 0.0158
        for metric in metrics
        for side, sign in (("low", -1), ("high", 1))
    }


Measured = Sequence[tuple[Claim, Sequence[tuple[Criterion, Seeds | Counts, tuple[Group, ...]]]]]


def measured(claims: Sequence[Claim], project: Project) -> Measured:
    """What all tests measure on all seeds of a project."""
    protocols = by_protocol(project.comparisons)
    return [
        (claim, [(t, v, g) for t in claim.tests for v, g in measure(t, protocols)])
        for claim in claims
    ]


def after(value: Seeds | Counts, seeds: int) -> Seeds | Counts:
    """A measurement with the first seeds only."""
    if isinstance(value, Counts):
        sides = (value.ours, value.theirs)
        ours, theirs = (tuple(_first(found, seeds) for found in side) for side in sides)
        return Counts(ours, theirs)
    if value.blocks:
        return replace(value, blocks=tuple(b for b in value.blocks if b[0] < seeds))
    return replace(value, values=_first(value.values, seeds))


def _first(values: Mapping[str, T], seeds: int) -> dict[str, T]:
    return {seed: value for seed, value in values.items() if int(seed) < seeds}


def fixed(values: Measured, project: Project, seeds: int) -> Measured:
    """What is measured on a sweep over this many seeds."""
    protocols = by_protocol(project.first(seeds))
    found = []
    for claim, of_claim in values:
        kept = [(t, after(v, seeds), g) for t, v, g in of_claim if t.kind.per != "data set"]
        sets = [t for t in claim.tests if t.kind.per == "data set"]
        kept += [(t, v, g) for t in sets for v, g in measure(t, protocols)]
        found.append((claim, kept))
    return found


def judged(values: Measured, project: Project, *, sequential: bool) -> list[Judgement]:
    """Verdicts of a project before the correction over claims."""
    looks = {c.title: MARGIN for c in project.comparisons} if sequential else {}
    return [judge_claim(claim, of_claim, looks) for claim, of_claim in values]


def false(judgements: Sequence[Judgement]) -> bool:
    """Whether some claim has a verdict, other than by equality, which is true of what is alike."""
    wrong = [j for j in judgements if j.verdict in SETTLED and j.verdict != EQUAL]
    return any(_differs(finding) for judgement in wrong for finding in judgement.findings)


def _differs(finding: Finding) -> bool:
    """Whether a deciding finding speaks for or against its claim because of a difference."""
    says = finding.test.decides and finding.says in ("supports", "contradicts")
    return says and not finding.estimate.equal_p <= SIGNIFICANCE


def simulate(project: Project, claims: Sequence[Claim], kind: Kind, projects: int) -> list[float]:
    """Shares of projects with a false verdict, by procedure in the order of `HEADINGS`."""
    rng = np.random.default_rng(0)
    counts = np.zeros(len(HEADINGS))
    for _ in range(projects):
        project.draw(rng, kind)
        values = measured(claims, project)
        once = judged(fixed(values, project, FIXED), project, sequential=False)
        looks = looks_to_take(judged(values, project, sequential=True))
        grown = any(
            false(over_all_claims(judged(first(values, n), project, sequential=True)))
            for n in looks
        )
        counts += (false(once), false(over_all_claims(once)), grown)
    return (counts / projects).tolist()


def looks_to_take(judgements: Sequence[Judgement]) -> list[int]:
    """Numbers of seeds after which a claim may be decided; after all others none can be.

    Adjusted by Holm's method, the smallest p value of a claim is that of its largest e-value times
    the number of its findings; if these do not pass the correction over claims, nothing does.
    Seeds that a test leaves out have no place on its path: the largest e-value so far is taken.
    """
    found = []
    for n in range(MIN_SEEDS, SEEDS + 1):
        p = []
        for judgement in judgements:
            paths = [
                (path, f.test.kind.per)
                for f in judgement.findings
                for path in (f.estimate.path, f.estimate.equal_path)
            ]
            counts = (n // MIN_SEEDS if per == "data set" else n for _, per in paths)
            upto = [path[:k] for (path, _), k in zip(paths, counts, strict=True)]
            most = max((max(path) for path in upto if path), default=0.0)
            p.append(min(1.0, len(upto) / most) if most > 0 else math.nan)
        adjusted = false_discovery(p, [True] * len(p))
        if any(q <= SIGNIFICANCE for q in adjusted):
            found.append(n)
    return found


def first(values: Measured, seeds: int) -> Measured:
    """What is measured on the first seeds, for evidence that grows with them."""
    return [(claim, [(t, after(v, seeds), g) for t, v, g in of]) for claim, of in values]


HEADINGS = (
    f"{FIXED} seeds, without the correction over claims",
    f"{FIXED} seeds",
    f"evidence, looked at after every seed from {MIN_SEEDS} to {SEEDS}",
)


def speed_up() -> None:
    """Look runs up once, not once per project; leave out intervals, which decide nothing."""
    look_up, kept = pooling.find, {}

    def find(selection: Selection, size: int, scope: Sequence[Comparison]) -> Group | None:
        key = (selection, size, *map(id, scope))
        if key not in kept:
            kept[key] = look_up(selection, size, scope)
        return kept[key]

    for module in (pooling, grids, measurements):
        module.__dict__["find"] = find
    estimates.__dict__["confidence_sequence"] = lambda d: (-math.inf, math.inf)


def deciding(claim: Claim) -> Claim:
    """A claim without the tests that stand aside."""
    return replace(claim, tests=tuple(test for test in claim.tests if test.decides))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--projects", type=int, default=500)
    projects = parser.parse_args().projects
    claims = [deciding(claim) for claim in read_claims() if not claim.undecidable]
    with tempfile.TemporaryDirectory() as folder:
        write_template(Path(folder) / "runs")
        project = Project(Path(folder) / "runs")
    speed_up()
    print(f"| some false verdict in a project | {' | '.join(HEADINGS)} |")
    print(f"| --- |{' ---: |' * len(HEADINGS)}")
    for kind in KINDS:
        shares = simulate(project, claims, kind, projects)
        print(f"| {kind.name} | {' | '.join(f'{100 * s:.1f} %' for s in shares)} |", flush=True)


if __name__ == "__main__":
    main()
