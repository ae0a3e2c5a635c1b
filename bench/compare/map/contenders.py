"""Who stands for each family at a price of a sample, and its FIDs along the budget by seed."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
import yaml

from bench.compare.comparison import Comparison, Entry, analysis, by_kind, comparable
from bench.compare.topics.curves import Axis
from bench.compare.topics.headline import families
from bench.compare.topics.pairs import first_listed
from bench.compare.topics.ranked import MOST_WARNED, NEAR

Group = Literal["flagships", "plain"]
"""Which models stand for families: their flagships, or the documents' plain DCGAN and DDPM."""

TOLERANCE = 0.1
"""Largest relative distance of an evaluation point from the budget of a column. Points lie behind
their budget by up to a training step, and columns by a factor of two apart."""

MEMORY_ERRORS = 3.0
"""Standard errors above what is expected from which on a model is said to have memorised images."""

AXES: Mapping[str, Axis] = {"seconds": "train_seconds", "images": "images", "flops": "train_flops"}
"""Columns of eval.csv that hold what limits of a budget count, by the limit's name."""


@dataclass(frozen=True)
class Point:
    """One evaluation point of a run.

    Attributes:
        fid: FID of the extractor that ranks models; NaN if unknown.
        faulty: whether its samples show signs of collapse or copying.
        far: whether no sample is near real data (precision and coverage 0).
        unchanged: whether the samples are those of the first point, and of another one, and change
            later: what makes them was not trained yet.
    """

    fid: float
    faulty: bool
    far: bool
    unchanged: bool = False


@dataclass(frozen=True)
class Memory:
    """How often samples are nearest to an image that their model was trained on.

    Attributes:
        share: of the samples, mean over seeds, in [0, 1].
        expected: this share for samples that do not depend on which images were trained on.
        error: its standard error over random splits of the images; all seeds have one split.
    """

    share: float
    expected: float
    error: float

    @property
    def found(self) -> bool:
        """Whether the share is larger than chance explains."""
        return self.share > self.expected + MEMORY_ERRORS * self.error


@dataclass(frozen=True)
class Contender:
    """What stands for a family in one row of the map, at one price of a sample.

    Attributes:
        family: its family.
        label: the model, or how many models it is the best of.
        sampler: its sampler; empty if seeds have different ones.
        points: by seed, its evaluation points by the budget consumed, ascending.
        latency: milliseconds for one sample, mean over seeds; NaN if not measured.
        failed: number of seeds whose runs failed.
        memory: of the images trained on, at the end of the runs; None if it was not measured.
    """

    family: str
    label: str
    sampler: str
    points: Mapping[str, Sequence[tuple[float, Point]]] = field(repr=False)
    latency: float
    failed: int
    memory: Memory | None = None

    def memory_at(self, budget: float) -> Memory | None:
        """What it has memorised, if that is more than chance and the budget is all of the runs'."""
        end = max((along[-1][0] for along in self.points.values() if along), default=math.nan)
        at_end = abs(end / budget - 1) <= TOLERANCE
        return self.memory if at_end and self.memory is not None and self.memory.found else None

    def at(self, budget: float) -> dict[str, Point]:
        """The evaluation point of each seed at a budget, within `TOLERANCE`."""
        found = {}
        for seed, along in self.points.items():
            near = [(abs(spent / budget - 1), point) for spent, point in along]
            distance, point = min(near, key=lambda each: each[0], default=(math.inf, None))
            if point is not None and distance <= TOLERANCE and math.isfinite(point.fid):
                found[seed] = point
        return found


@cache
def representatives(group: Group) -> Mapping[str, tuple[str, ...]]:
    """The models that stand for each family, of which the first that was trained does.

    They are those of conf/families.yaml.
    """
    text = (files("conf") / "families.yaml").read_text(encoding="utf-8")
    return {family: tuple(models) for family, models in yaml.safe_load(text)[group].items()}


@analysis
def contenders(
    comparison: Comparison, axis: Axis, price: float, group: Group
) -> tuple[Contender, ...]:
    """One contender for each family that has a finished run, at a price of a sample.

    Which models stand for a family does not depend on the price, see `_standing`. Of several the
    best does, which is chosen for every seed by the FIDs of the seeds before it, at every budget
    anew: so it is a bet that was laid before, and differences over seeds stay what tests assume. A
    model is represented by the sampler with the most network evaluations within the price, of equal
    ones by the first that it lists, so that no sampler is chosen by its score. Runs that did not
    get their cores are left out.

    Args:
        comparison: runs under one protocol.
        axis: what budgets count.
        price: most milliseconds for one sample; infinite for any, then the latency need not be
            known.
        group: which models stand for families.
    """
    fair = comparable(comparison)
    if not fair.extractors:
        return ()
    listed = _listed(fair)
    samplers: dict[tuple[str, str], list[Entry]] = {}
    for entry in _within(fair, price):
        samplers.setdefault(entry.key, []).append(entry)
    found = []
    for family, keys in _standing(comparison, group).items():
        chosen = [_most_evaluations(samplers[key], listed) for key in keys if key in samplers]
        if len(chosen) == 1:
            found.append(_one(fair, family, chosen[0], axis))
        elif chosen:
            found.append(_best_of(fair, family, chosen, axis))
    return tuple(each for each in found if any(each.points.values()))


@analysis
def _standing(comparison: Comparison, group: Group) -> Mapping[str, tuple[tuple[str, str], ...]]:
    """The models and variants that stand for each family, by family; only families with runs.

    A family's flagship was fixed before, so that it stands for the family whatever became of its
    runs. Without a run of it, all other models of the family with a finished run do.
    """
    ours = [run for run in by_kind(comparison)[0].runs if run.model in families()]
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for family, named in representatives(group).items():
        of_family = [run for run in ours if families()[run.model] == family]
        trained = [name for name in named if any(run.model == name for run in of_family)]
        if trained:
            keys = [(run.model, run.variant) for run in of_family if run.model == trained[0]]
        elif group == "flagships":
            keys = [(run.model, run.variant) for run in of_family if run.state == "finished"]
        else:
            continue
        if of_family:
            found[family] = tuple(dict.fromkeys(keys))
    return found


def absent(comparison: Comparison, axis: Axis, price: float, group: Group) -> dict[str, str]:
    """Why families with runs have no contender at a price, by family.

    Args:
        comparison: runs under one protocol.
        axis: what budgets count.
        price: most milliseconds for one sample.
        group: which models stand for families.
    """
    known = {each.family for each in contenders(comparison, axis, price, group)}
    at_any = {each.family: each for each in contenders(comparison, axis, math.inf, group)}
    found: dict[str, str] = {}
    for family, keys in _standing(comparison, group).items():
        if family in known:
            continue
        if (other := at_any.get(family)) is not None:
            unknown = math.isnan(other.latency)
            found[family] = "time of a sample not measured" if unknown else "too expensive"
        else:
            found[family] = _without_result(comparison, family, keys)
    return found


def _without_result(comparison: Comparison, family: str, keys: Collection[tuple[str, str]]) -> str:
    """Why a family has no result at any price."""
    of_family = [run for run in comparison.runs if families().get(run.model) == family]
    runs = [run for run in of_family if (run.model, run.variant) in keys] or of_family
    states = {run.state for run in runs}
    models = {run.model for run in runs}
    named = f" of {runs[0].model}" if models < {run.model for run in of_family} else ""
    if states == {"failed"}:
        return f"all {len(runs)} runs{named} failed" if len(runs) > 1 else f"its run{named} failed"
    if "finished" not in states:
        return f"no finished run{named}"
    able = {e.key for e in comparable(comparison).entries if e.finished and e.key in keys}
    if len(able) > 1:
        return f"to choose one of {len(able)} models by earlier seeds takes two seeds"
    return "no run that can be compared"


def prices(comparison: Comparison, group: Group) -> list[float]:
    """The latencies of all samplers of what stands for families, ascending and without NaN."""
    standing = {key for keys in _standing(comparison, group).values() for key in keys}
    entries = [e for e in _within(comparable(comparison), math.inf) if e.key in standing]
    known = {entry.mean.get("latency_ms", math.nan) for entry in entries}
    return sorted(latency for latency in known if math.isfinite(latency))


def _within(comparison: Comparison, price: float) -> list[Entry]:
    """The trained entries within a price; of each model with the weights that it lists first."""
    weights = {key: kind for key, (_, kind) in first_listed(comparison).items()}
    return [
        entry
        for entry in comparison.entries
        if entry.finished
        and entry.trained
        and entry.weights == weights.get(entry.key)
        and not entry.protocol.get("class_labels")
        and (math.isinf(price) or entry.mean.get("latency_ms", math.nan) <= price)
    ]


Listed = Mapping[tuple[str, str, str, str], int]
"""Place of each sampler in the list of its model, by model, variant, sampler and weights."""


def _listed(comparison: Comparison) -> Listed:
    """The places of all samplers in the lists of their models."""
    found: dict[tuple[str, str, str, str], int] = {}
    for run in comparison.runs:
        if run.state == "finished":
            for place, (sampler, weights) in enumerate(run.samplers):
                found.setdefault((run.model, run.variant, sampler, weights), place)
    return found


def _most_evaluations(samplers: Sequence[Entry], listed: Listed) -> Entry:
    """The sampler with the most network evaluations; of equal ones the first that is listed."""

    def key(entry: Entry) -> tuple[float, int]:
        nfe = float(np.nan_to_num(entry.mean.get("nfe", 0.0)))
        return nfe, -listed[(*entry.key, entry.sampler, entry.weights)]

    return max(samplers, key=key)


def _one(comparison: Comparison, family: str, entry: Entry, axis: Axis) -> Contender:
    """A model that stands for its family."""
    return Contender(
        family,
        comparison.label(entry),
        entry.sampler,
        {seed: _points(comparison, entry, seed, axis) for seed in entry.tables},
        entry.mean.get("latency_ms", math.nan),
        _failed(comparison, [entry]),
        _memory(comparison, entry),
    )


def _memory(comparison: Comparison, entry: Entry) -> Memory | None:
    """What a model has memorised at the end of its runs; None if no seed has all columns."""
    names = ("nearest_trained", "nearest_trained_expected", "nearest_trained_error")
    columns = [f"{name}_{comparison.extractors[0]}" for name in names]
    ends = [[t.numbers(column)[-1] for column in columns] for t in entry.tables.values() if len(t)]
    known = [end for end in ends if np.isfinite(end).all()]
    return Memory(*np.mean(known, axis=0).tolist()) if known else None


def _best_of(
    comparison: Comparison, family: str, entries: Sequence[Entry], axis: Axis
) -> Contender:
    """The best of several models, see `best_on_earlier_seeds`."""
    along = [
        {seed: _points(comparison, entry, seed, axis) for seed in entry.tables} for entry in entries
    ]
    latencies = np.array([entry.mean.get("latency_ms", math.nan) for entry in entries])
    return Contender(
        family,
        f"the best of {len(entries)} on earlier seeds",
        "",
        best_on_earlier_seeds(along),
        float(latencies.max()),
        _failed(comparison, entries),
    )


Along = Mapping[str, Sequence[tuple[float, Point]]]
"""The evaluation points of a model by seed, each with the budget consumed."""


def best_on_earlier_seeds(along: Sequence[Along]) -> dict[str, list[tuple[float, Point]]]:
    """The best of several models, chosen for each seed and point by their FIDs on earlier seeds.

    Models without an earlier seed at that point are not chosen, nor are those that could not be
    ahead on their earlier seeds (`has_fault`) if another one could. Where the chosen model has no
    result, as for the first seed, there is none.

    Args:
        along: the points of each model.
    """
    found: dict[str, list[tuple[float, Point]]] = {}
    for seed in sorted({seed for of_model in along for seed in of_model}, key=int):
        (budgets, *_) = (
            [spent for spent, _ in of_model[seed]] for of_model in along if seed in of_model
        )
        for spent in budgets:
            best: tuple[tuple[bool, float], Mapping[str, Point]] | None = None
            for of_model in along:
                column = _at(of_model, spent)
                before = {other: p for other, p in column.items() if int(other) < int(seed)}
                if not before:
                    continue
                fids = np.maximum([point.fid for point in before.values()], 1e-300)
                rank = bool(has_fault(before)), float(np.mean(np.log(fids)))
                if best is None or rank < best[0]:
                    best = rank, column
            if best is not None and seed in best[1]:
                found.setdefault(seed, []).append((spent, best[1][seed]))
    return found


def _at(along: Along, budget: float) -> dict[str, Point]:
    return Contender("", "", "", along, math.nan, 0).at(budget)


def _points(
    comparison: Comparison, entry: Entry, seed: str, axis: Axis
) -> tuple[tuple[float, Point], ...]:
    """The evaluation points of a seed by the budget consumed."""
    table, extractor = entry.tables[seed], comparison.extractors[0]
    near = np.array([table.numbers(f"{metric}_{extractor}") for metric in NEAR])  # (2, P)
    far = (near == 0).any(axis=0) & ~(near > 0).any(axis=0)
    spent, fids = table.numbers(axis), table.numbers(comparison.fid)
    warned = table.texts("warning")
    kept = [k for k in range(len(table)) if spent[k] > 0]
    since = next((place for place, k in enumerate(kept) if fids[k] != fids[kept[0]]), 0)
    return tuple(
        (
            float(spent[k]),
            Point(float(fids[k]), bool(warned[k]), bool(far[k]), place < since > 1),
        )
        for place, k in enumerate(kept)
    )


def _failed(comparison: Comparison, entries: Sequence[Entry]) -> int:
    """The number of failed runs of some models."""
    keys = {entry.key for entry in entries}
    return sum(
        run.state == "failed" and (run.model, run.variant) in keys for run in comparison.runs
    )


def has_fault(points: Mapping[str, Point]) -> str:
    """Why a contender cannot be ahead at a budget: "unchanged", "collapsed", "far", or nothing.

    The rules of collapse and of being far from real data are those of a recommendation
    (`bench.compare.topics.ranked`).
    """
    if not points:
        return ""
    if all(point.unchanged for point in points.values()):
        return "unchanged"
    warned = sum(point.faulty for point in points.values())
    if warned >= max(1, MOST_WARNED * len(points)):
        return "collapsed"
    return "far" if all(point.far for point in points.values()) else ""
