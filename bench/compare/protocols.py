"""Which runs may share a table: their protocol fields agree, or split them into several tables."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bench.compare.cells import natural
from bench.compare.eval_rows import EvalTable
from bench.compare.read import Run
from bench.schema import FIELDS, PROTOCOL

AXES = ("image_shape", "train_images", "budget")
"""The axes of the map: fields that --map allows to differ."""

MACHINE = ("device", "precision")
"""Fields that may follow from the machine. Tests of claims compare runs of one machine with each
other, and may count the seeds of several (`bench.compare.claims.pooling`)."""

ALL_AXES = ", or map sizes, numbers of images and budgets with --map"


class ProtocolError(ValueError):
    """Rows made under different protocols would share a table."""


def check_fields(mixed: Iterable[str]) -> None:
    """Check that these are protocol fields.

    Raises:
        ValueError: one is not; the message lists the fields.
    """
    for field in mixed:
        if field not in PROTOCOL:
            raise ValueError(
                f"--allow-mixed {field}: there is no such field, choose from {', '.join(PROTOCOL)}"
            )


def check_protocol(runs: Sequence[Run], mixed: Collection[str] = ()) -> None:
    """Check that runs agree on all protocol fields; an empty value matches anything.

    Args:
        runs: the runs of one data set.
        mixed: fields that may differ.

    Raises:
        ProtocolError: two runs disagree on a field; the message names it, both values and runs.
    """
    for field in PROTOCOL:
        seen = _values(runs, field)
        if len(seen) > 1 and field not in mixed:
            (a, run_a), (b, run_b) = list(seen.items())[:2]
            raise ProtocolError(
                f"runs on {run_a.dataset} that differ in {field} cannot share a table: "
                f"{a!r} in {run_a.path}, {b!r} in {run_b.path}; name the runs to compare, as in "
                f"python -m bench.compare {run_b.path}, or split the tables with "
                f"--allow-mixed {field}{ALL_AXES if field in AXES else ''}"
            )


def differing(runs: Sequence[Run]) -> list[str]:
    """The protocol fields on which runs disagree."""
    return [field for field in PROTOCOL if len(_values(runs, field)) > 1]


def split_runs(
    runs: Sequence[Run], mixed: Collection[str] = ()
) -> list[tuple[dict[str, str], list[Run]]]:
    """Split runs into one group for each value of the fields that may differ.

    Rows with an empty value (models that are not trained) are in every group. A run without rows is
    where the other runs of its model and variant are, or in every group.

    Args:
        runs: the runs of one data set.
        mixed: fields that split the runs where they differ.

    Returns:
        The values of the fields that differ, and the runs, of each group.

    Raises:
        ProtocolError: the runs disagree on another field.
    """
    check_protocol(runs, mixed)
    groups: list[tuple[dict[str, str], list[Run]]] = [({}, list(runs))]
    for field in PROTOCOL:
        if field in mixed and len(_values(runs, field)) > 1:
            groups = [
                finer for values, members in groups for finer in _split(values, members, field)
            ]
    return groups


def by_conditioning(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Part runs into those of unconditional and those of class-conditional models.

    A run is reduced to the rows of samplers that belong there. Rows without a training budget, such
    as those of real data, belong to both. A run without rows is where the other runs of its model
    and variant are, or with the unconditional ones.

    Args:
        runs: the runs of one data set and protocol.
    """
    kinds: dict[tuple[str, str], set[bool]] = {}
    for run in runs:
        of_model = kinds.setdefault((run.model, run.variant), set())
        of_model |= {bool(asked) for asked, trained in _conditioning(run.last) if trained}
    parts: tuple[list[Run], list[Run]] = ([], [])
    for run in runs:
        of_model = kinds[run.model, run.variant] or {False}
        for conditional, members in enumerate(parts):
            if not len(run.table):
                members += [run] if bool(conditional) in of_model else []
            elif kept := _conditioned(run, bool(conditional)):
                members.append(kept)
    return parts


def _conditioning(table: EvalTable) -> list[tuple[str, str]]:
    """The classes asked for and the training budget, of every row."""
    return list(zip(table.texts("class_labels"), table.texts("budget"), strict=True))


def _conditioned(run: Run, conditional: bool) -> Run | None:
    """The run reduced to rows of one kind; None if none of the last evaluation point is left."""
    kept = [
        np.array([not budget or bool(asked) == conditional for asked, budget in rows], dtype=bool)
        for rows in map(_conditioning, (run.last, run.table, run.best))
    ]
    last, table, best = kept
    if table.all() and best.all():
        return run
    if not last.any():
        return None
    return replace(run, table=run.table.take(table), best=run.best.take(best))


def split_title(values: Mapping[str, str]) -> str:
    """Title of a group, such as "training budget: 120 s"."""
    return ", ".join(f"{FIELDS[field].label}: {value}" for field, value in values.items())


def _values(runs: Sequence[Run], field: str) -> dict[str, Run]:
    """The non-empty values of a field, each with the first run that has it."""
    seen: dict[str, Run] = {}
    for run in runs:
        for value in run.last.texts(field):
            if value:
                seen.setdefault(value, run)
    return seen


def _split(
    values: dict[str, str], runs: list[Run], field: str
) -> list[tuple[dict[str, str], list[Run]]]:
    found = sorted(_values(runs, field), key=natural)
    if not found:
        return [(values, runs)]
    known: dict[tuple[str, str], set[str]] = {}
    for run in runs:
        known.setdefault((run.model, run.variant), set()).update(run.last.texts(field))
    return [
        (
            values | {field: value},
            [
                kept
                for run in runs
                if (kept := _limited(run, field, value, known[run.model, run.variant]))
            ],
        )
        for value in found
    ]


def _limited(run: Run, field: str, value: str, known: Collection[str]) -> Run | None:
    """The run reduced to rows with this value or an empty one; None if no such row is left.

    Args:
        run: the run.
        field: the field that splits runs.
        value: its value here.
        known: its values in all runs of the model and variant.
    """
    if not len(run.table):
        return run if not known or {"", value}.intersection(known) else None
    if not {"", value}.intersection(run.last.texts(field)):  # earlier points alone are no result
        return None
    table, best = (
        rows.take(np.array([text in ("", value) for text in rows.texts(field)], dtype=bool))
        for rows in (run.table, run.best)
    )
    return replace(run, table=table, best=best)
