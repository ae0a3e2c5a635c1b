"""A finished run with a smaller budget, whose training a new run with a larger one continues.

It is copied, not changed: the finished run stays what it is, with its own budget, and the new run
has its rows as the first points of its curve. All files are copied before the checkpoint, so that a
run without a checkpoint has not begun, whenever it was killed.
"""

import logging
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bench.config import Budget
from bench.errors import RunInUseError
from bench.runs.directory import RunDirectory, read_status, was_made_with
from bench.runtime.atomic_files import read_text, write_atomically
from bench.schema import FIELDS, PROTOCOL
from bench.training import checkpoint
from bench.training.budget import Earlier, Spent, shares
from bench.training.continuation import changing
from bench.training.trainer import Trainer

log = logging.getLogger("bench.run")

AGAIN = "training starts anew, and that run stays as it is"

NEW = ("variant", "overrides", "budget")
"""Columns that say what the run is; others say how a row was made."""


def continue_shorter(
    records: RunDirectory,
    trainer: Trainer,
    config: Mapping[str, Any],
    may_differ: Collection[str],
    columns: Callable[[], Mapping[str, Any]],
) -> None:
    """Take over the longest finished run that differs in nothing but a smaller budget, if any.

    Where such a run cannot be continued, one sentence says why.

    Args:
        records: the new run, open for writing; nothing is done if it has a checkpoint.
        trainer: not yet trained; nothing is done for a model without phases.
        config: the new run's configuration, of plain values.
        may_differ: settings that may differ, besides the budget.
        columns: finds the columns of eval.csv that are equal in all rows of the new run; called
            only if there is such a run, whose scores have the features that it takes.
    """
    if not trainer.phases or any(records.checkpoints.glob("step=*.pt")):
        return
    path = _longest(records.path, config, may_differ, trainer.budget)
    if path is None:
        return
    found = columns()
    try:
        with RunDirectory(path, reading=True) as shorter:
            why = _obstacle(shorter, trainer, found) or _take_over(shorter, records, trainer, found)
    except (ValueError, OSError, RunInUseError) as error:
        why = str(error)
    if why:
        log.warning("⚠ %s is not continued with the larger budget (%s): %s", path, why, AGAIN)


def expect_shorter(
    run: Path, trainer: Trainer, config: Mapping[str, Any], may_differ: Collection[str]
) -> bool:
    """Have a trainer stand where `continue_shorter` would have it go on, for a plan.

    Nothing is copied. What is known only with features of the data is not compared.

    Args:
        run: directory of the new run.
        trainer: not yet trained; its counters are set, its weights are not.
        config: see `continue_shorter`, as is may_differ.
        may_differ: see config.

    Returns:
        Whether there is such a run.
    """
    if not trainer.phases or trainer.spent.step:
        return False
    path = _longest(run, config, may_differ, trainer.budget)
    if path is None or not any((path / "checkpoints").glob("step=*.pt")):
        return False
    try:
        with RunDirectory(path, reading=True) as shorter:
            rows, why = shorter.eval_rows(), _obstacle(shorter, trainer, {})
    except (ValueError, OSError, RunInUseError):
        return False
    if why:
        return False
    trainer.spent = _spent(rows)
    trainer.earlier = Earlier(trainer.spent.point, trainer.spent.share(trainer.budget))
    return True


LIMITS = tuple(
    f"budget.{name}"
    for name in ("images", "seconds", "flops", "checkpoints", "first_point", "images_by_default")
)
"""Settings of a budget in which a run may differ from one that it continues: not its clock."""


def _longest(
    run: Path, config: Mapping[str, Any], may_differ: Collection[str], budget: Budget
) -> Path | None:
    """The finished run with the same configuration that spent most of this budget, but not all."""
    found: list[tuple[float, Path]] = []
    for other in sorted(run.parent.parent.glob(f"*/{run.name}")):
        try:
            status = read_status(other)
            if status is None or status.status != "finished" or other == run:
                continue
            if not was_made_with(other, config, (*may_differ, *LIMITS)):
                continue
            with RunDirectory(other, reading=True) as records:
                share = _spent(records.eval_rows()).share(budget)
        except (ValueError, OSError, RunInUseError):  # damaged, or being made again: no such run
            continue
        if 0 < share < 1:
            found.append((share, other))
    return max(found)[1] if found else None


def _spent(rows: Sequence[Mapping[str, str]]) -> Spent:
    """What the run of these rows had spent at its last evaluation point."""
    names = {"step": int, "images": int, "train_seconds": float, "train_flops": float}
    last = max(rows, key=lambda row: int(row["checkpoint"]), default={})
    values = [kind(last.get(name) or 0) for name, kind in (names | {"checkpoint": int}).items()]
    return Spent(*values)


def _obstacle(shorter: RunDirectory, trainer: Trainer, columns: Mapping[str, Any]) -> str:
    """Why training cannot go on from this run; empty if it can."""
    if not shorter.has_every_point():
        return "rows of its eval.csv are missing"
    for row in shorter.eval_rows():
        for name in PROTOCOL:
            now, then = str(columns.get(name, "")), row.get(name, "")
            if name != "budget" and now and then and now != then:
                return f"its {FIELDS[name].label} is {then}, that of this run is {now}"
    if what := changing(trainer.model, trainer.recipe, trainer.batch(0)):
        return f"{what} depends on the share of the budget that is spent"
    return ""


def _take_over(
    shorter: RunDirectory, records: RunDirectory, trainer: Trainer, columns: Mapping[str, Any]
) -> str:
    """Copy rows, logs, pictures and the last checkpoint; why that cannot be done, or empty."""
    state = checkpoint.load_latest(shorter.checkpoints, torch.device("cpu"))
    if state is None:
        return "it has no checkpoint any more"
    spent = Spent.recorded(state["spent"])
    earlier = Earlier(spent.point, spent.share(trainer.budget))
    total = spent.point + len(shares(trainer.budget, earlier))
    mine = {name: str(columns[name]) for name in NEW} | {"checkpoints": str(total)}
    rows = [
        row
        for row in shorter.eval_rows()
        if int(row["checkpoint"]) <= spent.point and not row.get("kept_point")
    ]
    records.write_eval([row | mine for row in rows], tuple(rows[0]))
    if shorter.train.path.exists():
        write_atomically(records.train.path, read_text(shorter.train.path))
    for picture in shorter.samples.glob("*.png"):
        shutil.copyfile(picture, records.samples / picture.name)
    for point in checkpoint.kept_points(shorter.checkpoints):
        name = f"kept-point={point}.pt"
        shutil.copyfile(shorter.checkpoints / name, records.checkpoints / name)
    state["earlier"] = asdict(earlier)
    checkpoint.save(state, records.checkpoints, spent.step)
    log.info("  training goes on from %s, after %s images", shorter.path, f"{spent.images:,}")
    return ""
