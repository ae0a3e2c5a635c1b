"""Runs → one entry per model, variant, sampler and weights, with statistics over seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from bench.compare.read import Run
from bench.protocol import CLASSES, COST, PROTOCOL, quality_columns

CONSUMED = ("step", "images", "train_seconds", "train_flops")
"""Columns of POINT that measure what training consumed."""

KEY = ("model", "variant", "sampler", "weights")
"""What one entry is about."""


class ProtocolError(ValueError):
    """Rows of different protocols would share a table."""


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
    """

    dataset: str
    extractors: tuple[str, ...]
    entries: tuple[Entry, ...]
    commands: tuple[str, ...]

    @property
    def several_variants(self) -> bool:
        """Whether models have to be told apart by their variant."""
        return len({entry.variant for entry in self.entries}) > 1

    @property
    def variants(self) -> dict[str, str]:
        """The overrides that each variant stands for, where the tables tell variants apart."""
        named = {e.variant: e.overrides for e in self.entries if e.overrides}
        return dict(sorted(named.items())) if self.several_variants else {}

    def label(self, entry: Entry) -> str:
        """The model's name, with its variant where it takes one to tell."""
        if self.several_variants and entry.variant not in ("", "default"):
            return f"{entry.model} ({entry.variant})"
        return entry.model


def compare_runs(runs: Sequence[Run]) -> Comparison:
    """Average the finished runs of one data set over their seeds.

    Every failed or unfinished run keeps an entry of its own, without numbers.

    Raises:
        ProtocolError: two runs were made by different protocols.
    """
    check_protocol(runs)
    extractors = tuple(dict.fromkeys(name for run in runs for name in run.extractors))
    columns = (*quality_columns(extractors), *CLASSES, *COST, *CONSUMED)
    finished = [run.rows for run in runs if run.status.status == "finished"]
    entries = [_without_numbers(run) for run in runs if run.status.status != "finished"]
    if finished:
        table = pd.concat(finished, ignore_index=True)
        for _, group in table.groupby(list(KEY)):
            _check_recipe(group)
            entries.append(_averaged(group, columns))
    entries.sort(key=lambda entry: _rank(entry, extractors))
    commands = tuple(sorted({run.status.command for run in runs} - {""}))
    return Comparison(runs[0].dataset, extractors, tuple(entries), commands)


def check_protocol(runs: Sequence[Run]) -> None:
    """Refuse to compare rows that were made differently; an empty value agrees with anything.

    Raises:
        ProtocolError: two runs disagree on a field; the message names it, both values and runs.
    """
    for field in PROTOCOL:
        seen: dict[str, Run] = {}
        for run in runs:
            for value in run.rows[field].to_list() if field in run.rows else ():
                if value:
                    seen.setdefault(value, run)
        if len(seen) > 1:
            (a, run_a), (b, run_b) = list(seen.items())[:2]
            raise ProtocolError(
                f"runs on {run_a.dataset} that differ in {field} cannot share a table: "
                f"{a!r} in {run_a.path}, {b!r} in {run_b.path}; name the runs to compare, "
                f"for example: python -m bench.compare {run_b.path.parents[2]}/*/{run_b.variant}"
            )


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


def to_frame(comparison: Comparison) -> pd.DataFrame:
    """The comparison as a table for machines: <column>_mean and <column>_std in full precision."""
    columns = (*quality_columns(comparison.extractors), *CLASSES, *COST, *CONSUMED)
    rows = [
        {
            "dataset": comparison.dataset,
            **{name: getattr(entry, name) for name in KEY},
            "status": entry.status,
            "reason": entry.reason,
            "trained": entry.trained,
            "n": len(entry.seeds) if entry.finished else 0,
            "seeds": " ".join(entry.seeds),
            **{f"{c}_mean": entry.mean.get(c, math.nan) for c in columns},
            **{f"{c}_std": entry.std.get(c, math.nan) for c in columns},
            **{field: entry.protocol.get(field, "") for field in PROTOCOL},
            "overrides": entry.overrides,
            "commits": " ".join(entry.commits),
        }
        for entry in comparison.entries
    ]
    return pd.DataFrame(rows)


def _averaged(group: pd.DataFrame, columns: Sequence[str]) -> Entry:
    first = group.iloc[0]
    measured = group.reindex(columns=list(columns)).astype("float64")
    protocol = {f: next((v for v in group[f].to_list() if v), "") for f in PROTOCOL}
    return Entry(
        **{name: str(first[name]) for name in KEY},
        status="finished",
        reason="",
        trained=protocol["budget"] != "",
        seeds=tuple(sorted(group["seed"].to_list(), key=_natural)),
        mean=measured.mean().to_dict(),
        std=measured.std(ddof=1).to_dict(),
        protocol=protocol,
        commits=tuple(sorted(set(group["commit"].to_list()) - {""})),
        overrides=str(first["overrides"]),
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
        *map(_natural, entry.seeds),
    )


def _natural(seed: str) -> tuple[int, str]:
    """Seed 10 comes after seed 2."""
    return (int(seed), "") if seed.isdigit() else (10**9, seed)
