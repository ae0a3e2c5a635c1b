"""Outcomes of training: the share of a model's runs that failed or collapsed."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.compare.cells import Cell, Table, natural
from bench.compare.comparison import Comparison, analysis
from bench.compare.read import ENDED, Run
from bench.compare.stats import wilson
from bench.evaluation.collapse import shows_collapse

OUTCOMES_SENTENCE = (
    "Runs that ended, by model. A run failed if its training stopped with an error, such as a loss "
    "that is not finite. It collapsed if samples of the first sampler that it lists show signs of "
    "collapse at the last evaluation point. In brackets: 95 % interval of the share (Wilson). "
    "Failed runs have no scores, so means are over the other runs."
)


@dataclass(frozen=True)
class Outcome:
    """Counts of how the runs of one model and variant ended.

    Attributes:
        model: name of the model.
        variant: name of its other overrides.
        runs: number of runs that finished or failed.
        failed: number of runs that failed.
        collapsed: number of runs that finished with signs of collapse.
    """

    model: str
    variant: str
    runs: int
    failed: int
    collapsed: int


@analysis
def outcomes(comparison: Comparison) -> tuple[Outcome, ...]:
    """The outcome of every trained model and variant with a run that ended, sorted by name."""
    counts: dict[tuple[str, str], list[int]] = {}
    for run in comparison.runs:
        if run.state in ENDED and is_trained(run):
            count = counts.setdefault((run.model, run.variant), [0, 0, 0])
            count[0] += 1
            count[1] += run.state == "failed"
            count[2] += collapsed(run)
    keys = sorted(counts, key=lambda key: (*map(natural, key),))
    return tuple(Outcome(*key, *counts[key]) for key in keys)


def is_trained(run: Run) -> bool:
    """Whether the run had a training budget; assumed for a run without rows."""
    return not len(run.last) or any(run.last.texts("budget"))


def collapsed(run: Run) -> bool:
    """Whether the run finished and its first listed sampler shows signs of collapse."""
    return run.state == "finished" and shows_collapse(run.last.texts("warning")[0])


def outcomes_table(comparison: Comparison, found: Sequence[Outcome]) -> Table:
    """One row per model: counts, and the share with its interval."""
    labels = {(e.model, e.variant): comparison.label(e) for e in comparison.entries}
    rows = []
    for outcome in found:
        bad = outcome.failed + outcome.collapsed
        low, high = wilson(bad, outcome.runs)
        share = f"{bad / outcome.runs:.0%} [{low:.0%}, {high:.0%}]"
        counts = map(str, (outcome.runs, outcome.failed, outcome.collapsed))
        cells = (labels[outcome.model, outcome.variant], *counts, share)
        rows.append(tuple(map(Cell, cells)))
    headings = ("model", "runs", "failed", "collapsed", "failed or collapsed [95 %]")
    return Table(headings, tuple(rows), labels=1)
