"""Runs → one entry per model, variant, sampler and weights, with statistics over seeds."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import pandas as pd

from bench.compare.course import BEST_FID, Course, course
from bench.compare.notation import natural
from bench.compare.protocols import ProtocolError, check_protocol, split_title
from bench.compare.read import Run
from bench.protocol import COST, HELD_OUT, MODES, PERFECT, PROTOCOL, quality_columns

WARNING = "⚠"
"""Marks an entry whose samples show signs of collapse."""

CONSUMED = ("step", "images", "train_seconds", "train_flops")
"""Columns of POINT that measure what training consumed."""

KEY = ("model", "variant", "sampler", "weights")
"""What one entry is about."""


@dataclass(frozen=True)
class Entry:
    """One row of a table: statistics over finished seeds, or one run that has no result.

    Attributes:
        model: name of the model.
        variant: names its other overrides.
        sampler: name of the sampler; empty for a run without result.
        weights: "ema" or "raw"; empty for a run without result.
        status: a failed or unfinished run has no numbers.
        reason: why a run failed, or how far an unfinished one has come.
        trained: whether it had a training budget; the floor has none.
        seeds: seeds averaged over, or the one of a run without result.
        mean: arithmetic means by column of eval.csv, NaN where nothing was measured.
        std: sample standard deviations (n - 1), NaN for a single seed.
        protocol: values of `bench.protocol.PROTOCOL`.
        commits: commits of the code that made the rows.
        overrides: what the variant stands for; empty without numbers.
        course: how its seeds came here; None without numbers.
    """

    model: str
    variant: str
    sampler: str
    weights: str
    status: Literal["finished", "failed", "unfinished"]
    reason: str
    trained: bool
    seeds: tuple[str, ...]
    mean: Mapping[str, float]
    std: Mapping[str, float]
    protocol: Mapping[str, str]
    commits: tuple[str, ...]
    overrides: str = ""
    course: Course | None = None

    @property
    def finished(self) -> bool:
        """Whether the entry has numbers."""
        return self.status == "finished"


@dataclass(frozen=True)
class Comparison:
    """All that one table shows.

    Attributes:
        dataset: name of the data set.
        extractors: feature extractors, in order; the first one's FID ranks the entries.
        entries: trained models by FID, failed and unfinished runs, then what is not trained.
        commands: command lines that made the runs.
        values: the protocol fields that split the data set's runs, with this table's values.
        runs: what the entries were made from.
    """

    dataset: str
    extractors: tuple[str, ...]
    entries: tuple[Entry, ...]
    commands: tuple[str, ...]
    values: Mapping[str, str] = field(default_factory=dict)
    runs: tuple[Run, ...] = ()

    @property
    def title(self) -> str:
        """The data set, and what tells this table from the others of the same data set."""
        return ", ".join(filter(None, (self.dataset, split_title(self.values))))

    @cached_property
    def ambiguous_models(self) -> frozenset[str]:
        """Models that occur in several variants, which have to be told apart."""
        variants = {(entry.model, entry.variant) for entry in self.entries}
        models = Counter(model for model, _ in variants)
        return frozenset(model for model, count in models.items() if count > 1)

    @property
    def overrides(self) -> dict[str, str]:
        """What was overridden, by label, where not all entries were made with the same."""
        named = {self.label(entry): entry.overrides for entry in self.entries if entry.finished}
        return {k: v for k, v in named.items() if v} if len(set(named.values())) > 1 else {}

    def label(self, entry: Entry) -> str:
        """The model's name, with its variant where it takes one to tell."""
        if entry.model in self.ambiguous_models and entry.variant not in ("", "default"):
            return f"{entry.model} ({entry.variant})"
        return entry.model

    def marked(self, entry: Entry) -> str:
        """The label, marked where a seed's last evaluation point shows signs of collapse."""
        warned = entry.course is not None and entry.course.warnings
        return f"{self.label(entry)} {WARNING}" if warned else self.label(entry)


def compare_runs(runs: Sequence[Run], values: Mapping[str, str] | None = None) -> Comparison:
    """Average the finished runs of one data set over their seeds.

    Every failed or unfinished run keeps an entry of its own, without numbers.

    Args:
        runs: at least one, all of one data set.
        values: the protocol fields that these runs were picked by, with their values.

    Raises:
        ProtocolError: two runs were made by different protocols.
    """
    check_protocol(runs)
    extractors = tuple(dict.fromkeys(name for run in runs for name in run.extractors))
    columns = statistics_columns(extractors)
    finished = [run.rows for run in runs if run.status.status == "finished"]
    entries = [_without_numbers(run) for run in runs if run.status.status != "finished"]
    if finished:
        table = pd.concat(finished, ignore_index=True)
        for _, group in table.groupby(list(KEY)):
            _check_recipe(group)
            entries.append(_averaged(group, columns))
    entries.sort(key=lambda entry: _rank(entry, extractors))
    commands = tuple(sorted({run.status.command for run in runs} - {""}))
    return Comparison(runs[0].dataset, extractors, tuple(entries), commands, values or {}, tuple(runs))


def statistics_columns(extractors: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that are averaged over seeds, in order."""
    return (*quality_columns(extractors), *MODES, *PERFECT, *HELD_OUT, *COST, *CONSUMED, BEST_FID)


def _check_recipe(group: pd.DataFrame) -> None:
    """Refuse to average seeds whose model was configured differently, by a changed YAML file."""
    by_recipe = group.groupby("recipe")["seed"].agg(list)
    if len(by_recipe) > 1:
        (first, seeds), (second, others) = list(by_recipe.items())[:2]
        raise ProtocolError(
            f"seeds of {group['model'].iloc[0]} ({group['variant'].iloc[0]}) were made with "
            f"different configurations of the model and cannot be averaged: recipe {first} in "
            f"seeds {', '.join(seeds)}, {second} in {', '.join(others)}; compare their config.yaml "
            "and run one of the two again"
        )


def _averaged(group: pd.DataFrame, columns: Sequence[str]) -> Entry:
    first = group.iloc[0]
    measured = group.reindex(columns=list(columns)).astype("float64")
    protocol = {f: next((v for v in group[f].to_list() if v), "") for f in PROTOCOL}
    return Entry(
        **{name: str(first[name]) for name in KEY},
        status="finished",
        reason="",
        trained=protocol["budget"] != "",
        seeds=tuple(sorted(group["seed"].to_list(), key=natural)),
        mean=measured.mean().to_dict(),
        std=measured.std(ddof=1).to_dict(),
        protocol=protocol,
        commits=tuple(sorted(set(group["commit"].to_list()) - {""})),
        overrides=str(first["overrides"]),
        course=course(group),
    )


def _without_numbers(run: Run) -> Entry:
    """The entry of a run that has no result: it says why, and is never left out."""
    failed = run.status.status == "failed"
    return Entry(
        model=run.model,
        variant=run.variant,
        sampler="",
        weights="",
        status="failed" if failed else "unfinished",
        reason=_reason(run) if failed else f"at step {run.status.step}",
        trained=True,
        seeds=(run.seed,),
        mean={},
        std={},
        protocol={},
        commits=(),
    )


def _reason(run: Run) -> str:
    """Why a run failed, with phase and step unless the reason already names them."""
    status = run.status
    reason = " ".join(status.reason.split()) or "no reason recorded"
    where = [status.phase] if status.phase and status.phase not in reason else []
    if f"step {status.step}" not in reason:
        where.append(f"step {status.step}")
    return f"{reason} ({', '.join(where)})" if where else reason


def _rank(entry: Entry, extractors: tuple[str, ...]) -> tuple[object, ...]:
    fid = entry.mean.get(f"fid_{extractors[0]}", math.nan) if extractors else math.nan
    return (
        not entry.trained,
        ("finished", "failed", "unfinished").index(entry.status),
        math.inf if math.isnan(fid) else fid,
        *(getattr(entry, name) for name in KEY),
        *map(natural, entry.seeds),
    )
