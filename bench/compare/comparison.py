"""Runs → one entry per model, variant, sampler and weights, with statistics over seeds."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import numpy as np

from bench.compare.cells import natural
from bench.compare.eval_rows import EvalTable, Layout
from bench.compare.protocols import ProtocolError, check_protocol, split_title
from bench.compare.read import Run, without_lacking
from bench.compare.stats import Summary, summarise
from bench.evaluation.collapse import shows_collapse, shows_copying
from bench.schema import COST, HELD_OUT, MODES, PERFECT, PROTOCOL, quality_columns

BEST_FID = "best_fid"
"""Statistic beside the columns of eval.csv: the lowest FID at any evaluation point."""

WARNING = "⚠"
"""Marks an entry whose samples show signs of collapse or copying."""

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
        seeds: seeds averaged over, or the one of a run without result.
        reason: why a run failed, or how far an unfinished one has come.
        trained: whether it had a training budget; real data has none.
        tables: the rows of every finished seed, by evaluation point; none without numbers.
        mean: arithmetic means by column of eval.csv, NaN where nothing was measured.
        std: sample standard deviations (n - 1), NaN for a single seed.
        protocol: values of `bench.schema.PROTOCOL`.
        commits: commits of the code that made the rows.
        overrides: what the variant stands for; empty without numbers.
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
        """Whether the entry has numbers."""
        return self.status == "finished"

    @property
    def key(self) -> tuple[str, str]:
        """Model and variant, which all samplers of a model share."""
        return self.model, self.variant

    def values(self, column: str) -> dict[str, float]:
        """The finite values of a column at the last evaluation point, or of `BEST_FID`, by seed."""
        found = {
            seed: _best(table)[0] if column == BEST_FID else float(table.numbers(column)[-1])
            for seed, table in self.tables.items()
        }
        return {seed: value for seed, value in found.items() if math.isfinite(value)}

    def summary(self, column: str) -> Summary:
        """A column over the seeds that have a finite value of it."""
        return summarise(list(self.values(column).values()))

    @cached_property
    def warnings(self) -> dict[str, str]:
        """What the collapse watch says at the last point, by seed; only seeds with warnings."""
        said = {seed: table.texts("warning")[-1] for seed, table in self.tables.items()}
        return {seed: words for seed, words in said.items() if words}

    @cached_property
    def warned_at(self) -> dict[str, list[int]]:
        """Earlier evaluation points with warnings, by seed; only seeds that have some."""
        found = {}
        for seed, table in self.tables.items():
            points = zip(table.numbers("checkpoint"), table.texts("warning"), strict=True)
            if warned := [int(point) for point, words in list(points)[:-1] if words]:
                found[seed] = warned
        return found

    @property
    def signs(self) -> tuple[str, ...]:
        """What the warnings at the last point are about: "collapse", "copying" or both."""
        kinds = {"collapse": shows_collapse, "copying": shows_copying}
        return tuple(k for k, shows in kinds.items() if any(map(shows, self.warnings.values())))

    @cached_property
    def best_at(self) -> list[int]:
        """Evaluation points of each seed's lowest FID, ascending."""
        return sorted(int(at) for _, at in map(_best, self.tables.values()) if at)

    @cached_property
    def points(self) -> int:
        """Evaluation points of a run; 0 without numbers."""
        ends = (table.numbers("checkpoints")[-1] for table in self.tables.values())
        return int(max(ends, default=0))


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
    _analyses: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def fid(self) -> str:
        """The column of the FID that ranks the entries; without extractors there is none."""
        return f"fid_{''.join(self.extractors[:1])}"

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

    @cached_property
    def _labels(self) -> dict[tuple[str, str], str]:
        overrides = {(e.model, e.variant): e.overrides for e in self.entries if e.finished}
        return described(overrides)

    def label(self, entry: Entry) -> str:
        """The model's name, with what tells it from its variants where there are several."""
        if entry.model not in self.ambiguous_models or entry.variant in ("", "default"):
            return entry.model
        return self._labels.get((entry.model, entry.variant), f"{entry.model} ({entry.variant})")

    def marked(self, entry: Entry) -> str:
        """The label, marked where a seed's last point shows signs of collapse or copying."""
        return f"{self.label(entry)} {WARNING}" if entry.warnings else self.label(entry)


P = ParamSpec("P")
T = TypeVar("T")


def analysis(
    compute: Callable[Concatenate[Comparison, P], T],
) -> Callable[Concatenate[Comparison, P], T]:
    """Compute an analysis of a comparison once: all who ask are handed the one value.

    Args:
        compute: a pure function of a comparison, and of hashable arguments; its value is one that
            nobody can change.
    """

    @wraps(compute)
    def handed(comparison: Comparison, *args: P.args, **kwargs: P.kwargs) -> T:
        kept, key = comparison._analyses, (compute, *args, *sorted(kwargs.items()))
        if key not in kept:
            kept[key] = compute(comparison, *args, **kwargs)
        return kept[key]

    return handed


def compare_runs(runs: Sequence[Run], values: Mapping[str, str] | None = None) -> Comparison:
    """Average the finished runs of one data set over their seeds.

    Every failed or unfinished run keeps an entry of its own, without numbers, and so does one whose
    recorded rows cannot be used.

    Args:
        runs: at least one, all of one data set.
        values: the protocol fields that these runs were picked by, with their values.

    Raises:
        ProtocolError: two runs were made by different protocols.
    """
    check_protocol(runs)
    runs = without_lacking(runs)
    extractors = tuple(dict.fromkeys(name for run in runs for name in run.extractors))
    columns = statistics_columns(extractors)
    entries = [_without_numbers(run) for run in runs if run.state != "finished"]
    tables: dict[tuple[str, ...], dict[str, EvalTable]] = {}
    for run in sorted(runs, key=lambda run: natural(run.seed)):
        if run.state == "finished":
            for key, table in run.samplers.items():
                tables.setdefault((run.model, run.variant, *key), {})[run.seed] = table
    entries += [_averaged(key, of_seeds, columns) for key, of_seeds in tables.items()]
    entries.sort(key=lambda entry: _rank(entry, extractors))
    commands = tuple(sorted({run.status.command for run in runs} - {""}))
    dataset = runs[0].dataset
    return Comparison(dataset, extractors, tuple(entries), commands, values or {}, tuple(runs))


def statistics_columns(extractors: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that are averaged over seeds, in order."""
    return (*quality_columns(extractors), *MODES, *PERFECT, *HELD_OUT, *COST, *CONSUMED, BEST_FID)


def _best(table: EvalTable) -> tuple[float, int]:
    """The lowest FID of the first extractor, and at which evaluation point; NaN and 0 for none."""
    fids = table.numbers(f"fid_{table.layout.extractors[0]}").tolist()
    points = table.numbers("checkpoint").tolist()
    known = [(fid, int(at)) for fid, at in zip(fids, points, strict=True) if not math.isnan(fid)]
    return min(known, default=(math.nan, 0))


def _last_values(table: EvalTable, columns: tuple[str, ...]) -> np.ndarray:
    """Some columns at the last evaluation point, NaN for those that the table lacks, (C,)."""
    return np.append(table.values[:, -1], math.nan)[_places(table.layout, columns)]


@lru_cache(maxsize=64)
def _places(layout: Layout, columns: tuple[str, ...]) -> np.ndarray:
    """The rows of `EvalTable.values` that hold some columns; -1 for those that it lacks, (C,)."""
    return np.array([layout.measured.get(column, -1) for column in columns])


def _check_recipe(name: str, tables: Mapping[str, EvalTable]) -> None:
    """Refuse to average seeds whose model was configured differently, by a changed YAML file."""
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
    """The entry of some seeds' rows, in the order of the seeds."""
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
    """The entry of a run that has no result: it says why, and is never left out."""
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


OF_MODEL = re.compile(r"[+~]*model[.]")
"""How overrides of the model begin."""

ASIDE = "model.build.samplers="
"""An override that changes how the model is sampled, not what it is."""

OTHER_RUNS = ("draft_run=", "refine_run=")
"""Overrides that name another run, and so differ between seeds."""

FOLLOWS = re.compile(r"\$\\?\{")
"""What an override holds that takes another one's value, as Hydra writes it: an interpolation."""

LONGEST = 60
"""Letters of a short description; a longer one helps nobody."""


def model_changes(overrides: Iterable[str]) -> list[str]:
    """The overrides of the model itself, without the sign that adds a key.

    Left out are samplers, other runs, and what only follows another override.
    """
    return [
        word.lstrip("+~")
        for word in overrides
        if OF_MODEL.match(word)
        and not word.lstrip("+~").startswith(ASIDE)
        and not any(name in word for name in OTHER_RUNS)
        and not FOLLOWS.search(word)
    ]


def short(changes: Iterable[str]) -> str:
    """The same for readers, such as "generator.lr=5e-5": the last two names of every key."""
    shown = []
    for change in changes:
        key, _, value = change.partition("=")
        if key.endswith("._target_"):
            key, value = key.removesuffix("._target_"), value.rpartition(".")[2]
        shown.append(f"{'.'.join(key.split('.')[-2:])}={value}")
    return ", ".join(shown)


def described(overrides: Mapping[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Name variants by what was changed of their model, where that tells them apart.

    Args:
        overrides: as one text, by model and variant.

    Returns:
        Labels such as "ddpm_small (denoiser.lr=5e-4)"; the model's own name where nothing was
        changed. Variants that share a label, or would have a very long one, are left out.
    """
    labels = {}
    for (model, variant), text in overrides.items():
        changes = short(model_changes(text.split()))
        labels[model, variant] = f"{model} ({changes})" if changes else model
    count = Counter(labels.values())
    return {
        key: label for key, label in labels.items() if count[label] == 1 and len(label) <= LONGEST
    }
