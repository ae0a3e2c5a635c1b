"""Runs → one entry per model, variant, sampler and weights, with statistics over seeds."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from bench.compare.cells import natural
from bench.compare.eval_rows import EvalTable
from bench.compare.protocols import ProtocolError, check_protocol, split_title
from bench.compare.read import BEST_CHECKPOINT, BEST_FID, WARNED_AT, Run, along, without_lacking
from bench.compare.stats import Summary, summarise
from bench.evaluation.collapse import shows_collapse, shows_copying
from bench.schema import COST, HELD_OUT, MODES, PERFECT, PROTOCOL, quality_columns


@dataclass(frozen=True)
class Course:
    """How the finished seeds of an entry came to their last evaluation point.

    Attributes:
        warnings: what the collapse watch says at the last point, by seed; only seeds with warnings.
        warned_at: earlier evaluation points with warnings, by seed; only seeds that have some.
        best_at: evaluation points of each seed's lowest FID, ascending.
        points: evaluation points of a run.
    """

    warnings: dict[str, str]
    warned_at: dict[str, str]
    best_at: tuple[int, ...]
    points: int

    @property
    def signs(self) -> tuple[str, ...]:
        """What the warnings at the last point are about: "collapse", "copying" or both."""
        found = self.warnings.values()
        kinds = {"collapse": shows_collapse, "copying": shows_copying}
        return tuple(kind for kind, shows in kinds.items() if any(map(shows, found)))


def course(
    seeds: Sequence[str],
    warnings: Sequence[str],
    warned_at: Sequence[str],
    best_at: Sequence[float],
    points: int,
) -> Course:
    """The course of some runs that are alike.

    Args:
        seeds: one for each run, in order.
        warnings: what the collapse watch says at the last point, by run.
        warned_at: earlier points with warnings, by run.
        best_at: the point of the lowest FID, by run; NaN where there is none.
        points: evaluation points of a run.
    """
    return Course(
        warnings={seed: words for seed, words in zip(seeds, warnings, strict=True) if words},
        warned_at={seed: at for seed, at in zip(seeds, warned_at, strict=True) if at},
        best_at=tuple(sorted(int(at) for at in best_at if not math.isnan(at))),
        points=points,
    )


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
        reason: why a run failed, or how far an unfinished one has come.
        trained: whether it had a training budget; the floor has none.
        seeds: seeds averaged over, or the one of a run without result.
        mean: arithmetic means by column of eval.csv, NaN where nothing was measured.
        std: sample standard deviations (n - 1), NaN for a single seed.
        protocol: values of `bench.schema.PROTOCOL`.
        commits: commits of the code that made the rows.
        overrides: what the variant stands for; empty without numbers.
        course: how its seeds came here; None without numbers.
        by_seed: values by seed, in the order of `seeds`, and by column, NaN where there is none.
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
    by_seed: Mapping[str, Mapping[str, float]] = field(default_factory=dict, repr=False)

    @property
    def finished(self) -> bool:
        """Whether the entry has numbers."""
        return self.status == "finished"

    def values(self, column: str) -> dict[str, float]:
        """The finite values of a column, by seed."""
        found = {seed: of.get(column, math.nan) for seed, of in self.by_seed.items()}
        return {seed: value for seed, value in found.items() if math.isfinite(value)}

    def summary(self, column: str) -> Summary:
        """A column over the seeds that have a finite value of it."""
        return summarise(list(self.values(column).values()))


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
        warned = entry.course is not None and entry.course.warnings
        return f"{self.label(entry)} {WARNING}" if warned else self.label(entry)


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
    by_key: dict[tuple[str, ...], list[_Row]] = {}
    for run in sorted(runs, key=lambda run: natural(run.seed)):
        if run.state == "finished":
            for key, row in _rows(run, columns):
                by_key.setdefault(key, []).append(row)
    entries += [_averaged(key, rows, columns) for key, rows in by_key.items()]
    entries.sort(key=lambda entry: _rank(entry, extractors))
    commands = tuple(sorted({run.status.command for run in runs} - {""}))
    dataset = runs[0].dataset
    return Comparison(dataset, extractors, tuple(entries), commands, values or {}, tuple(runs))


def statistics_columns(extractors: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that are averaged over seeds, in order."""
    return (*quality_columns(extractors), *MODES, *PERFECT, *HELD_OUT, *COST, *CONSUMED, BEST_FID)


@dataclass(frozen=True)
class _Row:
    """What one finished run says of one sampler at its last evaluation point.

    Attributes:
        seed: the run's seed.
        values: measurements, NaN where there is none, (C,).
        last: the run's last evaluation point.
        at: position of the row in `last`.
        before: the columns that `along` adds.
    """

    seed: str
    values: np.ndarray
    last: EvalTable
    at: int
    before: Mapping[str, Sequence[float] | Sequence[str]]

    def text(self, column: str) -> str:
        """A column of text, or one that `along` adds."""
        return str((self.before.get(column) or self.last.texts(column))[self.at])


def _rows(run: Run, columns: Sequence[str]) -> list[tuple[tuple[str, ...], _Row]]:
    """The rows of a finished run, each with the key of its entry."""
    last, before = run.last, along(run.table, run.last)
    measured = [before[c] if c in before else last.numbers(c) for c in columns]
    values = np.array(measured, dtype=np.float64).T  # (R, C)
    keys = zip(*map(last.texts, KEY), strict=True)
    return [(key, _Row(run.seed, values[k], last, k, before)) for k, key in enumerate(keys)]


def _check_recipe(rows: Sequence[_Row]) -> None:
    """Refuse to average seeds whose model was configured differently, by a changed YAML file."""
    by_recipe: dict[str, list[str]] = {}
    for row in rows:
        by_recipe.setdefault(row.text("recipe"), []).append(row.seed)
    if len(by_recipe) > 1:
        (first, seeds), (second, others) = sorted(by_recipe.items())[:2]
        raise ProtocolError(
            f"seeds of {rows[0].text('model')} ({rows[0].text('variant')}) were made with "
            f"different configurations of the model and cannot be averaged: recipe {first} in "
            f"seeds {', '.join(seeds)}, {second} in {', '.join(others)}; compare their config.yaml "
            "and run one of the two again"
        )


def _averaged(key: tuple[str, ...], rows: Sequence[_Row], columns: Sequence[str]) -> Entry:
    """The entry of some seeds' rows, in the order of the seeds."""
    _check_recipe(rows)
    values = np.stack([row.values for row in rows])  # (S, C)
    known = ~np.isnan(values)
    n = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN where n is too small
        mean = np.where(known, values, 0.0).sum(axis=0) / n
        squares = np.where(known, values - mean, 0.0) ** 2
        std = np.sqrt(squares.sum(axis=0) / np.where(n > 1, n - 1, np.nan))
    protocol = {f: next((v for row in rows if (v := row.text(f))), "") for f in PROTOCOL}
    return Entry(
        **dict(zip(KEY, key, strict=True)),
        status="finished",
        reason="",
        trained=protocol["budget"] != "",
        seeds=tuple(row.seed for row in rows),
        mean=dict(zip(columns, mean.tolist(), strict=True)),
        std=dict(zip(columns, std.tolist(), strict=True)),
        protocol=protocol,
        commits=tuple(sorted({row.text("commit") for row in rows} - {""})),
        overrides=rows[0].text("overrides"),
        course=course(
            [row.seed for row in rows],
            [row.text("warning") for row in rows],
            [row.text(WARNED_AT) for row in rows],
            [float(row.before[BEST_CHECKPOINT][row.at]) for row in rows],
            int(max(row.last.numbers("checkpoints")[row.at] for row in rows)),
        ),
        by_seed={row.seed: dict(zip(columns, row.values.tolist(), strict=True)) for row in rows},
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
        reason=run.fault or _reason(run) if failed else f"at step {run.status.step}",
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


OF_MODEL = re.compile(r"[+~]*model[.]")
"""How overrides of the model begin."""

ASIDE = "model.build.samplers="
"""An override of the model that says how it is drawn from, not what it is."""

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
