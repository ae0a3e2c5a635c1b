"""Who stands for each family at a price of a sample, and its FIDs along the budget by seed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
import yaml

from bench.compare.comparison import Comparison, Entry, analysis, comparable
from bench.compare.topics.curves import Axis
from bench.compare.topics.headline import families
from bench.compare.topics.pairs import first_listed
from bench.compare.topics.ranked import MOST_WARNED, NEAR

Group = Literal["flagships", "plain"]
"""Which models stand for families: their flagships, or the documents' plain DCGAN and DDPM."""

TOLERANCE = 0.1
"""Largest relative distance of an evaluation point from the budget of a column. Points lie behind
their budget by up to a training step, and columns by a factor of two apart."""

AXES: Mapping[str, Axis] = {"seconds": "train_seconds", "images": "images", "flops": "train_flops"}
"""Columns of eval.csv that hold what limits of a budget count, by the limit's name."""


@dataclass(frozen=True)
class Point:
    """One evaluation point of a run.

    Attributes:
        fid: FID of the extractor that ranks models; NaN if unknown.
        faulty: whether its samples show signs of collapse or copying.
        far: whether no sample is near real data (precision and coverage 0).
    """

    fid: float
    faulty: bool
    far: bool


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
    """

    family: str
    label: str
    sampler: str
    points: Mapping[str, Sequence[tuple[float, Point]]] = field(repr=False)
    latency: float
    failed: int

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

    A family is represented by its flagship, which was fixed before; without one by its only model;
    and with several others by the best of them, which is chosen for every seed by the FIDs of the
    other seeds, at every budget anew. A model is represented by the sampler with the most network
    evaluations within the price, so that no sampler is chosen by its score. Runs that did not get
    their cores are left out.

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
    models: dict[str, dict[tuple[str, str], list[Entry]]] = {}
    for entry in _within(fair, price):
        if family := families().get(entry.model):
            models.setdefault(family, {}).setdefault(entry.key, []).append(entry)
    found = []
    for family, named in representatives(group).items():
        of_models = {key: _dearest(samplers) for key, samplers in models.get(family, {}).items()}
        chosen = _flagship(of_models, named)
        if not chosen and group == "flagships":
            chosen = list(of_models.values())
        if len(chosen) == 1:
            found.append(_one(fair, family, chosen[0], axis))
        elif chosen:
            found.append(_best_of(fair, family, chosen, axis))
    return tuple(found)


def prices(comparison: Comparison) -> list[float]:
    """The latencies of all samplers that may stand for a family, ascending and without NaN."""
    fair = comparable(comparison)
    known = {e.mean.get("latency_ms", math.nan) for e in _within(fair, math.inf)}
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


def _dearest(samplers: Sequence[Entry]) -> Entry:
    """The sampler with the most network evaluations; of equal ones the first in the table."""
    return max(samplers, key=lambda entry: np.nan_to_num(entry.mean.get("nfe", 0.0)))


def _flagship(models: Mapping[tuple[str, str], Entry], named: Sequence[str]) -> list[Entry]:
    """The first of the named models that was trained, if it has one variant; else nothing."""
    for name in named:
        variants = [entry for (model, _), entry in models.items() if model == name]
        if variants:
            return variants if len(variants) == 1 else []
    return []


def _one(comparison: Comparison, family: str, entry: Entry, axis: Axis) -> Contender:
    """A model that stands for its family."""
    return Contender(
        family,
        comparison.label(entry),
        entry.sampler,
        {seed: _points(comparison, entry, seed, axis) for seed in entry.tables},
        entry.mean.get("latency_ms", math.nan),
        _failed(comparison, [entry]),
    )


def _best_of(
    comparison: Comparison, family: str, entries: Sequence[Entry], axis: Axis
) -> Contender:
    """The best of several models, chosen for each seed and point by the FIDs of the other seeds.

    Seeds without others to choose by are left out, as are points that not all models have.
    """
    along = [
        {seed: _points(comparison, entry, seed, axis) for seed in entry.tables} for entry in entries
    ]
    points: dict[str, list[tuple[float, Point]]] = {}
    for seed in along[0]:
        for spent, _ in along[0][seed]:
            column = [_at(of_model, spent) for of_model in along]  # M times seed → point
            if any(seed not in of_model for of_model in column):
                continue
            others = [
                [point.fid for other, point in of_model.items() if other != seed]
                for of_model in column
            ]
            if all(others):
                means = [float(np.mean(np.log(np.maximum(fids, 1e-300)))) for fids in others]
                best = column[int(np.argmin(means))]
                points.setdefault(seed, []).append((spent, best[seed]))
    latencies = [entry.mean.get("latency_ms", math.nan) for entry in entries]
    return Contender(
        family,
        f"the best of {len(entries)} on other seeds",
        "",
        points,
        max(latencies),
        _failed(comparison, entries),
    )


def _at(along: Mapping[str, Sequence[tuple[float, Point]]], budget: float) -> dict[str, Point]:
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
    return tuple(
        (float(spent[k]), Point(float(fids[k]), bool(warned[k]), bool(far[k])))
        for k in range(len(table))
        if spent[k] > 0
    )


def _failed(comparison: Comparison, entries: Sequence[Entry]) -> int:
    """The number of failed runs of some models."""
    keys = {entry.key for entry in entries}
    return sum(
        run.state == "failed" and (run.model, run.variant) in keys for run in comparison.runs
    )


def has_fault(points: Mapping[str, Point]) -> str:
    """Why a contender cannot be ahead at a budget: "collapsed", "far" from real data, or nothing.

    The rules are those of a recommendation (`bench.compare.topics.ranked`).
    """
    if not points:
        return ""
    warned = sum(point.faulty for point in points.values())
    if warned >= max(1, MOST_WARNED * len(points)):
        return "collapsed"
    return "far" if all(point.far for point in points.values()) else ""
