"""Whether the best model is shown to be ahead, or equal, and how many more seeds would tell."""

import math
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.compare.comparison import Comparison, Entry, analysis
from bench.compare.read import Run
from bench.compare.sequential import LEVEL, settled_after
from bench.compare.stats import (
    MIN_SEEDS,
    SIGNIFICANCE,
    Difference,
    holm,
    paired_difference,
    unpaired_difference,
)
from bench.compare.topics.ranked import best_rivals, mean_fid
from bench.compare.topics.settled import (
    Contest,
    contests,
    is_sequential,
    margin_of,
    missing,
    seconds_per_seed,
)
from bench.runs.looks import Look
from bench.runtime.printing import duration
from bench.schema import MEASURED

MOST = 200
"""Largest number of seeds that is considered."""

SIMPLE = re.compile(r"[\w.,=/+-]+")
"""An override that a sentence can show."""

OWN = ("model", "seed", "seeds", "hours", "margin")
"""Settings of a command that are not those of its other runs."""

State = Literal["lower", "equal", "higher", "open"]
"""What is shown of two models, from the side of the best one."""


@dataclass(frozen=True)
class Rivalry:
    """How the FID of the best entry compares with that of a rival with a higher one.

    Attributes:
        rival: the best entry of another model.
        state: whether the best one is shown to be lower, practically equal, or neither; "higher"
            if its model is shown to be higher by the samplers that are listed first.
        mean: FID of the best one relative to the rival's, as a ratio or difference.
        low: lower end of its interval.
        high: its upper end.
        ratio: whether mean, low and high are ratios.
        p: corrected for the number of comparisons (Holm).
        left: estimated number of further seeds of both that would tell, under the rule of
            bench.decide; NaN if unknown, infinite if out of reach, 0 unless the state is open.
        seconds: of computing one more seed of both; NaN if unknown.
    """

    rival: Entry
    state: State
    mean: float
    low: float
    high: float
    ratio: bool
    p: float
    left: float
    seconds: float

    @property
    def cost(self) -> float:
        """Estimated seconds until it is settled; seeds, if seconds are unknown."""
        if not math.isfinite(self.left):
            return math.inf
        return self.left * (self.seconds if math.isfinite(self.seconds) else 1.0)


@analysis
def rivalries(
    comparison: Comparison, model: str, variant: str, sampler: str, weights: str
) -> tuple[Rivalry, ...]:
    """An entry against the best entries of all models with a higher FID and enough seeds.

    A comparison of a fixed number of seeds is tested by Student's t; it is equal where the 95 %
    interval lies within the margin. A sequential one has the verdicts of its questions, in which
    each model is represented by the first sampler that it lists.

    Args:
        comparison: without runs that cannot be compared.
        model: of the entry.
        variant: of the entry.
        sampler: of the entry.
        weights: of the entry.
    """
    key = model, variant, sampler, weights
    best = next(e for e in comparison.entries if identity(e) == key)
    rivals = [
        rival
        for rival in best_rivals(comparison, best).values()
        if len(rival.seeds) >= MIN_SEEDS
        and mean_fid(comparison, rival) >= mean_fid(comparison, best)
    ]
    if len(best.seeds) < MIN_SEEDS:
        return ()
    if is_sequential(comparison):
        return tuple(_of_questions(comparison, best, rivals))
    return tuple(_of_fixed_seeds(comparison, best, rivals))


def identity(entry: Entry) -> tuple[str, str, str, str]:
    """What tells an entry apart from the others of its comparison."""
    return entry.model, entry.variant, entry.sampler, entry.weights


def rivalry(comparison: Comparison, best: Entry, rival: Entry) -> Rivalry | None:
    """How an entry compares with one rival; None with too few seeds."""
    found = rivalries(comparison, *identity(best))
    return next((each for each in found if each.rival is rival), None)


def _of_fixed_seeds(comparison: Comparison, best: Entry, rivals: Sequence[Entry]) -> list[Rivalry]:
    """Tests over a number of seeds that was fixed in advance."""
    fid, margin = comparison.fid, margin_of(comparison)
    differences = [_difference(best.values(fid), rival.values(fid)) for rival in rivals]
    found = []
    for rival, d, p in zip(rivals, differences, holm([d.p for d in differences]), strict=True):
        state = "open"
        if p < SIGNIFICANCE and d.high < (1.0 if d.ratio else 0.0):
            state = "lower"
        elif d.ratio and 1 / margin <= d.low and d.high <= margin:
            state = "equal"
        left = 0.0
        if state == "open":
            left = _missing_seeds(best.values(fid), rival.values(fid), len(rivals), margin)
        seconds = seconds_per_seed(comparison, best) + seconds_per_seed(comparison, rival)
        found.append(Rivalry(rival, state, d.mean, d.low, d.high, d.ratio, p, left, seconds))
    return found


def _of_questions(comparison: Comparison, best: Entry, rivals: Sequence[Entry]) -> list[Rivalry]:
    """The verdicts of the questions about the models; nothing about models that have none."""
    by_pair = {frozenset((c.a.key, c.b.key)): c for c in contests(comparison)}
    asked = [(rival, by_pair.get(frozenset((best.key, rival.key)))) for rival in rivals]
    return [_of_contest(best, rival, contest) for rival, contest in asked if contest is not None]


def _of_contest(best: Entry, rival: Entry, contest: Contest) -> Rivalry:
    """The verdict of a question, from the side of the best entry."""
    state: State = "open"
    if contest.lower is not None:
        state = "lower" if contest.lower.key == best.key else "higher"
    elif contest.question.state == "equal":
        state = "equal"
    if (standing := contest.standing) is None:
        return Rivalry(rival, state, math.nan, math.nan, math.nan, True, math.nan, 0.0, math.nan)
    mean, (low, high) = standing.mean, standing.interval
    if contest.a.key != best.key:  # the table lists the other model first
        ends = [1 / x if x else math.inf for x in (mean, high, low)]
        mean, low, high = ends if standing.ratio else (-mean, -high, -low)
    estimate = mean, low, high, standing.ratio, standing.p
    return Rivalry(rival, state, *estimate, contest.left, contest.seconds)


def _difference(a: dict[str, float], b: dict[str, float]) -> Difference:
    """By ratio if all values are positive; paired if three seeds are shared."""
    ratio = MEASURED["fid"].by_ratio((*a.values(), *b.values()))
    if len(a.keys() & b.keys()) >= MIN_SEEDS:
        return paired_difference(a, b, ratio=ratio)
    return unpaired_difference(list(a.values()), list(b.values()), ratio=ratio)


def _missing_seeds(a: dict[str, float], b: dict[str, float], family: int, margin: float) -> float:
    """Estimated number of further seeds after which bench.decide would settle a comparison.

    Args:
        a: FID by seed.
        b: FID by seed.
        family: number of comparisons that are corrected together.
        margin: of practical equality, a ratio.
    """
    common = sorted(a.keys() & b.keys(), key=int)
    x, y = (np.array([of[seed] for seed in common], dtype=np.float64) for of in (a, b))
    ratio = bool(len(common)) and min(x.min(), y.min()) > 0
    d = np.log(x) - np.log(y) if ratio else x - y
    needed = settled_after(
        d.tolist(), family / LEVEL, math.log(margin) if ratio else None, most=MOST
    )
    return missing(needed, len(common))


def more_seeds(comparison: Comparison, best: Entry, open_: Iterable[Rivalry]) -> str:
    """What would tell, as the end of a sentence: number of seeds, time and command.

    Args:
        comparison: the comparison.
        best: the best entry.
        open_: its comparisons that are open, at least one.
    """
    open_ = list(open_)
    first = min(open_, key=lambda each: each.cost)
    command = decide_command(comparison, [best, *(each.rival for each in open_)], first)
    tells = "would tell" if len(open_) == 1 else "would tell the first of them"
    if math.isnan(first.left):
        return f"more seeds would tell: `{command}`"
    if math.isinf(first.left):
        return f"even {MOST} seeds would probably not tell"
    time = f", {duration(first.left * first.seconds)}" if math.isfinite(first.seconds) else ""
    return f"about {counted(first.left)} {tells}{time}: `{command}`"


def counted(left: float) -> str:
    """A number of missing seeds, such as "9 more seeds"."""
    n = int(left)
    return f"{n} more seed{'s' * (n != 1)}"


def decide_command(comparison: Comparison, entries: Sequence[Entry], first: Rivalry) -> str:
    """The command that goes on until these models are told apart.

    It has the settings of their runs if these are equal and simple, else "…" stands for them. Its
    hours include those that bench.decide has spent on these models, which its limit does.
    """
    keys = {entry.key for entry in entries}
    runs = [run for run in comparison.runs if (run.model, run.variant) in keys]
    found = {_settings(run.status.command) for run in runs}
    words = found.pop() if len(found) == 1 else None
    if words is None:
        return "python -m bench.decide …"
    models = ",".join(sorted({entry.model for entry in entries}))
    seconds = first.left * first.seconds
    seconds += sum(run.status.seconds for run in runs if run.status.sequential)
    hours = max(math.ceil(seconds / 360), 1) / 10 if math.isfinite(seconds) else 1
    margin = margin_of(comparison)
    own = [f"hours={hours:g}", *([f"margin={margin:g}"] if margin != Look().margin else [])]
    return " ".join(("python -m bench.decide", f"model={models}", *words, *_place(runs), *own))


def _place(runs: Sequence[Run]) -> list[str]:
    """The override that names the folder of runs; none if it is the default, or is no such one."""
    folder = runs[0].path.parents[3]
    root = str(folder.parent)
    if folder.name != "runs" or root == "results" or not SIMPLE.fullmatch(f"results_root={root}"):
        return []
    return [f"results_root={root}"]


def _settings(command: str) -> tuple[str, ...] | None:
    """The overrides of a recorded command but for `OWN`; None if a sentence cannot show them."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    overrides = [word for word in words if "=" in word and word.partition("=")[0] not in OWN]
    if not overrides or not all(map(SIMPLE.fullmatch, overrides)):
        return None
    return tuple(overrides)
