"""Runs → one entry per model, variant, sampler and weights, with statistics over seeds."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import numpy as np

from bench.compare.cells import natural
from bench.compare.eval_rows import EvalTable, Layout
from bench.compare.protocols import (
    MACHINE,
    ProtocolError,
    by_conditioning,
    check_protocol,
    split_title,
)
from bench.compare.read import Run, by_sampler, without_lacking
from bench.compare.stats import Summary, summarise
from bench.compare.variants import described
from bench.evaluation.collapse import shows_collapse, shows_copying
from bench.schema import COST, HELD_OUT, MODES, PERFECT, POINT, PROTOCOL, quality_columns

BEST_FID = "best_fid"
"""Name of a statistic that is no column of eval.csv: lowest FID at any evaluation point."""

WARNING = "⚠"
"""Marks an entry whose samples show signs of collapse or copying."""

CONSUMED = tuple(name for name in POINT if name not in ("checkpoint", "checkpoints"))
"""Columns of POINT that measure what training consumed."""

DISTURBED = "†"
"""Marks an entry with a run whose training did not get its cores."""

CLASS_CONDITIONAL = "class-conditional models"
"""Kind of a comparison of class-conditional models beside one of unconditional models."""

KEY = ("model", "variant", "sampler", "weights")
"""What identifies an entry, besides the data set."""


@dataclass(frozen=True)
class Entry:
    """One row of a table: statistics over finished seeds, or one run without a result.

    Attributes:
        model: name of the model.
        variant: name of its other overrides.
        sampler: name of the sampler; empty for a run without a result.
        weights: "ema" or "raw"; empty for a run without a result.
        status: failed and unfinished runs have no result.
        seeds: seeds averaged over, or the seed of a run without a result.
        reason: why a run failed, or the step that an unfinished one has reached.
        trained: whether it had a training budget; real data has none.
        tables: by seed, its rows ordered by evaluation point; empty without a result.
        mean: means over seeds by column of eval.csv; NaN if not measured.
        std: sample standard deviations (n - 1), NaN for a single seed.
        protocol: values of `bench.schema.PROTOCOL`.
        commits: commits of the code that made the rows.
        overrides: the overrides that the variant stands for; empty without a result.
    """

    model: str
    variant: str
    sampler: str
    weights: str
    status: Literal["finished", "failed", "unfinished"]
    seeds: tuple[str, ...]
    reason: str = ""
    trained: bool = True
    tables: Mapping[str, EvalTable] = field(default_factory=dict, repr=False)
    mean: Mapping[str, float] = field(default_factory=dict)
    std: Mapping[str, float] = field(default_factory=dict)
    protocol: Mapping[str, str] = field(default_factory=dict)
    commits: tuple[str, ...] = ()
    overrides: str = ""

    @property
    def finished(self) -> bool:
        """Whether the entry has a result."""
        return self.status == "finished"

    @property
    def class_conditional(self) -> bool:
        """Whether its sampler was trained here and was asked for samples of given classes."""
        return self.trained and bool(self.protocol.get("class_labels"))

    @property
    def key(self) -> tuple[str, str]:
        """(model, variant), shared by all samplers of a model."""
        return self.model, self.variant

    def values(self, column: str) -> dict[str, float]:
        """The finite values of a column at the last evaluation point, or of `BEST_FID`, by seed."""
        found = {
            seed: _best(table)[0] if column == BEST_FID else float(table.numbers(column)[-1])
            for seed, table in self.tables.items()
        }
        return {seed: value for seed, value in found.items() if math.isfinite(value)}

    def summary(self, column: str) -> Summary:
        """Summary of a column over the seeds with a finite value."""
        return summarise(list(self.values(column).values()))

    @cached_property
    def warnings(self) -> dict[str, str]:
        """Warnings of the last evaluation point by seed; only seeds that have one."""
        found = {seed: table.texts("warning")[-1] for seed, table in self.tables.items()}
        return {seed: words for seed, words in found.items() if words}

    @cached_property
    def warned_at(self) -> dict[str, list[int]]:
        """Earlier evaluation points with warnings by seed; only seeds that have some."""
        found = {}
        for seed, table in self.tables.items():
            points = zip(table.numbers("checkpoint"), table.texts("warning"), strict=True)
            if warned := [int(point) for point, words in list(points)[:-1] if words]:
                found[seed] = warned
        return found

    @property
    def signs(self) -> tuple[str, ...]:
        """Kinds of the warnings at the last point: "collapse", "copying" or both."""
        kinds = {"collapse": shows_collapse, "copying": shows_copying}
        return tuple(k for k, shows in kinds.items() if any(map(shows, self.warnings.values())))

    @cached_property
    def best_at(self) -> list[int]:
        """Evaluation point of each seed's lowest FID, ascending."""
        return sorted(int(at) for _, at in map(_best, self.tables.values()) if at)

    @cached_property
    def followed(self) -> bool:
        """Whether some run was scored before its last evaluation point."""
        return any(len(table) > 1 for table in self.tables.values())

    @cached_property
    def points(self) -> int:
        """Number of evaluation points of a run; 0 without a result."""
        ends = (table.numbers("checkpoints")[-1] for table in self.tables.values())
        return int(max(ends, default=0))


@dataclass(frozen=True)
class Comparison:
    """The runs that share a set of tables, as one entry per row.

    Attributes:
        dataset: name of the data set.
        extractors: feature extractors, in order; the first one's FID ranks the entries.
        entries: trained models by FID, failed and unfinished runs, then models that are not
            trained.
        commands: command lines that made the runs.
        values: the protocol fields by which the data set's runs were split, with their values here.
        runs: the runs behind the entries.
        best: entries of weights that were selected by a validation FID (`trainer.keep=best`), a
            choice that other models may not have had: shown as such, and compared with nothing.
        kind: `CLASS_CONDITIONAL` if the unconditional models have a comparison of their own.
    """

    dataset: str
    extractors: tuple[str, ...]
    entries: tuple[Entry, ...]
    commands: tuple[str, ...]
    values: Mapping[str, str] = field(default_factory=dict)
    runs: tuple[Run, ...] = ()
    best: tuple[Entry, ...] = ()
    kind: str = ""
    _analyses: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def fid(self) -> str:
        """The column of the FID that ranks the entries; "fid_" if there is no extractor."""
        return f"fid_{''.join(self.extractors[:1])}"

    @property
    def title(self) -> str:
        """The data set, the protocol fields by which its runs were split, and its kind."""
        return ", ".join(filter(None, (self.dataset, split_title(self.values), self.kind)))

    @cached_property
    def machine(self) -> tuple[str, str]:
        """Device and precision of its trained runs; empty if there are none, or several."""
        trained = (run.last for run in self.runs if any(run.last.texts("budget")))
        found = {(row.texts("device")[0], row.texts("precision")[0]) for row in trained}
        return found.pop() if len(found) == 1 else ("", "")

    @property
    def place(self) -> str:
        """The title without the machine."""
        others = {k: value for k, value in self.values.items() if k not in MACHINE}
        return ", ".join(filter(None, (self.dataset, split_title(others), self.kind)))

    @cached_property
    def conditionings(self) -> frozenset[bool]:
        """Whether the trained models with a result are class-conditional; both if some are."""
        trained = (entry for entry in self.entries if entry.finished and entry.trained)
        return frozenset(entry.class_conditional for entry in trained)

    def is_apart(self, entry: Entry) -> bool:
        """Whether an entry is class-conditional beside unconditional ones.

        It is not compared with them: it is given the classes, which they have to learn.
        """
        return entry.class_conditional and len(self.conditionings) > 1

    @cached_property
    def ambiguous_models(self) -> frozenset[str]:
        """Models with several variants."""
        variants = {(entry.model, entry.variant) for entry in self.entries}
        models = Counter(model for model, _ in variants)
        return frozenset(model for model, count in models.items() if count > 1)

    @property
    def overrides(self) -> dict[str, str]:
        """Overrides by label; empty if all entries have equal overrides."""
        named = {self.label(entry): entry.overrides for entry in self.entries if entry.finished}
        return {k: v for k, v in named.items() if v} if len(set(named.values())) > 1 else {}

    @cached_property
    def _labels(self) -> dict[tuple[str, str], str]:
        overrides = {(e.model, e.variant): e.overrides for e in self.entries if e.finished}
        return described(overrides)

    def label(self, entry: Entry) -> str:
        """The model's name; if it has several variants, also what distinguishes this one."""
        if entry.model not in self.ambiguous_models or entry.variant in ("", "default"):
            return entry.model
        return self._labels.get((entry.model, entry.variant), f"{entry.model} ({entry.variant})")

    def marked(self, entry: Entry) -> str:
        """The label, with `WARNING` if a seed has warnings at its last point, and `DISTURBED`."""
        marks = {WARNING: bool(entry.warnings), DISTURBED: self.is_disturbed(entry)}
        return " ".join((self.label(entry), *(mark for mark, there in marks.items() if there)))

    def is_disturbed(self, entry: Entry, *, timed: bool = False) -> bool:
        """Whether a run of an entry did not get its cores.

        Args:
            entry: one of the entries.
            timed: whether only runs with a budget in seconds are asked for, of which no score can
                be compared then.
        """
        runs = self.disturbed.get(entry.key, ()) if entry.finished else ()
        return any(run.timed or not timed for run in runs)

    @cached_property
    def disturbed(self) -> dict[tuple[str, str], tuple[Run, ...]]:
        """The finished runs that did not get their cores, by model and variant."""
        found: dict[tuple[str, str], tuple[Run, ...]] = {}
        for run in self.runs:
            if run.state == "finished" and run.disturbed:
                key = run.model, run.variant
                found[key] = (*found.get(key, ()), run)
        return found


P = ParamSpec("P")
T = TypeVar("T")


def analysis(
    compute: Callable[Concatenate[Comparison, P], T],
) -> Callable[Concatenate[Comparison, P], T]:
    """Decorator that computes an analysis of a comparison once and keeps the result.

    Args:
        compute: a pure function of a comparison and hashable arguments; its value is immutable.
    """

    @wraps(compute)
    def cached(comparison: Comparison, *args: P.args, **kwargs: P.kwargs) -> T:
        kept, key = comparison._analyses, (compute, *args, *sorted(kwargs.items()))
        if key not in kept:
            kept[key] = compute(comparison, *args, **kwargs)
        return kept[key]

    return cached


def compare_runs(runs: Sequence[Run], values: Mapping[str, str] | None = None) -> Comparison:
    """Average the finished runs of one data set over their seeds.

    Every failed, unfinished or unusable run has an entry of its own, without a result.

    Args:
        runs: at least one, all of one data set.
        values: the protocol fields by which the runs were split, with their values.

    Raises:
        ProtocolError: two runs differ in a protocol field, or seeds of one model in its
            configuration.
    """
    check_protocol(runs)
    runs = without_lacking(runs)
    extractors = tuple(dict.fromkeys(name for run in runs for name in run.extractors))
    columns = statistics_columns(extractors)
    entries = [_without_numbers(run) for run in runs if run.state != "finished"]
    finished = [run for run in runs if run.state == "finished"]
    entries += _over_seeds([(run, run.samplers) for run in finished], columns)
    entries.sort(key=lambda entry: _rank(entry, extractors))
    best = _over_seeds([(run, by_sampler(run.best)) for run in finished], columns)
    best.sort(key=lambda entry: _rank(entry, extractors))
    commands = tuple(sorted({run.status.command for run in runs} - {""}))
    dataset = runs[0].dataset
    values = values or {}
    return Comparison(
        dataset, extractors, tuple(entries), commands, values, tuple(runs), tuple(best)
    )


def _over_seeds(
    found: Sequence[tuple[Run, Mapping[tuple[str, str], EvalTable]]], columns: tuple[str, ...]
) -> list[Entry]:
    """The entries of runs, each with its rows by sampler and weights."""
    tables: dict[tuple[str, ...], dict[str, EvalTable]] = {}
    for run, of_samplers in sorted(found, key=lambda each: natural(each[0].seed)):
        for key, table in of_samplers.items():
            tables.setdefault((run.model, run.variant, *key), {})[run.seed] = table
    return [_averaged(key, of_seeds, columns) for key, of_seeds in tables.items()]


@analysis
def comparable(comparison: Comparison) -> Comparison:
    """The comparison of what can be compared, for everything that draws conclusions.

    It lacks the runs that `left_out` names and, beside unconditional models, the class-conditional
    ones. Without either it is the comparison itself.
    """
    return undisturbed(by_kind(comparison)[0])


def ranked_by(comparison: Comparison, extractor: str) -> Comparison:
    """What can be compared of a comparison, ranked by the FID of another of its extractors."""
    fair = comparable(comparison)
    extractors = extractor, *(name for name in fair.extractors if name != extractor)
    entries = sorted(fair.entries, key=lambda entry: _rank(entry, extractors))
    return replace(fair, extractors=extractors, entries=tuple(entries))


@analysis
def by_kind(comparison: Comparison) -> tuple[Comparison, Comparison | None]:
    """The comparison of the unconditional models, and that of the class-conditional ones.

    These are the comparison itself and None if its trained models with a result are of one kind.
    """
    if len(comparison.conditionings) < 2:
        return comparison, None
    plain, conditional = (
        compare_runs(runs, comparison.values) for runs in by_conditioning(comparison.runs)
    )
    return plain, replace(conditional, kind=CLASS_CONDITIONAL)


def separated(comparison: Comparison) -> tuple[Comparison, ...]:
    """The comparisons of unconditional and of class-conditional models, if the latter are several.

    A single class-conditional model stays in the comparison, which names it and does not compare
    it.
    """
    plain, conditional = by_kind(comparison)
    if conditional is None:
        return (comparison,)
    models = {e.key for e in conditional.entries if e.finished and e.trained}
    return (plain, conditional) if len(models) > 1 else (comparison,)


@analysis
def undisturbed(comparison: Comparison) -> Comparison:
    """The comparison without the runs that `left_out` names; itself without such runs."""
    unfair = left_out(comparison)
    if not unfair:
        return comparison
    kept = [run for run in comparison.runs if run not in unfair]
    if not kept:
        return replace(comparison, entries=(), runs=(), best=())
    return replace(compare_runs(kept, comparison.values), kind=comparison.kind)


@analysis
def left_out(comparison: Comparison) -> tuple[Run, ...]:
    """The runs with a budget in seconds that did not get their cores: they were trained less."""
    disturbed = (run for runs in comparison.disturbed.values() for run in runs)
    return tuple(run for run in disturbed if run.timed)


def statistics_columns(extractors: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that are averaged over seeds, in order."""
    return (*quality_columns(extractors), *MODES, *PERFECT, *HELD_OUT, *COST, *CONSUMED, BEST_FID)


def _best(table: EvalTable) -> tuple[float, int]:
    """Lowest FID of the first extractor and its evaluation point; NaN and 0 if there is none."""
    fids = table.numbers(f"fid_{table.layout.extractors[0]}").tolist()
    points = table.numbers("checkpoint").tolist()
    known = [(fid, int(at)) for fid, at in zip(fids, points, strict=True) if not math.isnan(fid)]
    return min(known, default=(math.nan, 0))


def _last_values(table: EvalTable, columns: tuple[str, ...]) -> np.ndarray:
    """Columns at the last evaluation point, (C,); NaN for columns that the table lacks."""
    return np.append(table.values[:, -1], math.nan)[_places(table.layout, columns)]


@lru_cache(maxsize=64)
def _places(layout: Layout, columns: tuple[str, ...]) -> np.ndarray:
    """Rows of `EvalTable.values` with these columns, (C,); -1 for columns that it lacks."""
    return np.array([layout.measured.get(column, -1) for column in columns])


def _check_recipe(name: str, tables: Mapping[str, EvalTable]) -> None:
    """Refuse to average seeds whose models were configured differently."""
    by_recipe: dict[str, list[str]] = {}
    for seed, table in tables.items():
        by_recipe.setdefault(table.texts("recipe")[-1], []).append(seed)
    if len(by_recipe) > 1:
        (first, seeds), (second, others) = sorted(by_recipe.items())[:2]
        raise ProtocolError(
            f"seeds of {name} were made with "
            f"different configurations of the model and cannot be averaged: recipe {first} in "
            f"seeds {', '.join(seeds)}, {second} in {', '.join(others)}; compare their config.yaml "
            "and run one of the two again"
        )


def _averaged(
    key: tuple[str, ...], tables: Mapping[str, EvalTable], columns: tuple[str, ...]
) -> Entry:
    """The entry that averages the rows of several seeds."""
    _check_recipe(f"{key[0]} ({key[1]})", tables)
    values = np.stack([_last_values(table, columns) for table in tables.values()])  # (S, C)
    values[:, columns.index(BEST_FID)] = [_best(table)[0] for table in tables.values()]
    known = ~np.isnan(values)
    n = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN where n is too small
        mean = np.where(known, values, 0.0).sum(axis=0) / n
        squares = np.where(known, values - mean, 0.0) ** 2
        std = np.sqrt(squares.sum(axis=0) / np.where(n > 1, n - 1, np.nan))

    def texts(column: str) -> list[str]:
        return [table.texts(column)[-1] for table in tables.values()]

    protocol = {field: next(filter(None, texts(field)), "") for field in PROTOCOL}
    return Entry(
        **dict(zip(KEY, key, strict=True)),
        status="finished",
        seeds=tuple(tables),
        trained=protocol["budget"] != "",
        tables=tables,
        mean=dict(zip(columns, mean.tolist(), strict=True)),
        std=dict(zip(columns, std.tolist(), strict=True)),
        protocol=protocol,
        commits=tuple(sorted(set(texts("commit")) - {""})),
        overrides=texts("overrides")[0],
    )


def _without_numbers(run: Run) -> Entry:
    """The entry of a run without a result, with the reason."""
    failed = run.state in ("failed", "unusable")
    return Entry(
        model=run.model,
        variant=run.variant,
        sampler="",
        weights="",
        status="failed" if failed else "unfinished",
        seeds=(run.seed,),
        reason=run.fault or _reason(run) if failed else f"at step {run.status.step}",
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
