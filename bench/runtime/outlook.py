"""What is to come: the runs of a sweep, what each takes, and how much is left of all."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from bench.runtime.jobs import Outcome
from bench.runtime.printing import duration
from bench.runtime.progress import Forecast

INTERPOLATION = re.compile(r"\$\\?\{")
"""A setting that takes the value of another one: as it is typed, or as Hydra escapes it."""

NEW, HALF_DONE, CONTINUED = "new", "half done", "continued"
ENDED, REPEATED, WRONG = "ended", "repeated", "wrong"
"""States of a run before a sweep: a continued one goes on from a finished run with less budget, a
repeated one is stood for by the run of another seed, a wrong one cannot start."""

DONE = (ENDED, REPEATED, WRONG)
"""States of runs that will take no time."""

_SAID = {
    ENDED: "ended already",
    HALF_DONE: "half done",
    CONTINUED: "continued from a smaller budget",
    REPEATED: "that would repeat another one",
    WRONG: "that cannot start",
}


@dataclass(frozen=True)
class Planned:
    """One run as it is before it starts or goes on.

    Attributes:
        overrides: of its command line, which name it within its sweep.
        run: its directory; empty where it is not known, as are the next three.
        dataset: name of its data.
        model: name of its model.
        seed: its seed.
        kind: what runs of equal cost share; empty where it is not known.
        state: where it stands.
        forecast: what all of it takes.
        exact: whether the budget, and so the training time, is in seconds.
        share: of the budget that is spent, in [0, 1].
        evaluated: evaluation points that it has behind it.
        once: seconds of what all runs on its data share and nobody has computed yet.
        shared: names what they share.
        class_conditional: whether its model is asked for samples of given classes; False also where
            that is not known.
        protocol: the columns of `bench.schema.PROTOCOL` that are known before, as they are written.
    """

    overrides: tuple[str, ...]
    run: str = ""
    dataset: str = ""
    model: str = ""
    seed: str = ""
    kind: str = ""
    state: str = NEW
    forecast: Forecast = field(default_factory=Forecast)
    exact: bool = False
    share: float = 0.0
    evaluated: int = 0
    once: float = 0.0
    shared: str = ""
    class_conditional: bool = False
    protocol: Mapping[str, str] = field(default_factory=dict)

    @property
    def training(self) -> float | None:
        """Seconds of training that are left."""
        if self.state in DONE:
            return 0.0
        whole = self.forecast.training
        return None if whole is None else whole * (1 - self.share)

    @property
    def evaluation(self) -> float | None:
        """Seconds of evaluation that are left."""
        if self.state in DONE:
            return 0.0
        return self.forecast.evaluations(self.evaluated)


@dataclass(frozen=True)
class Outlook:
    """All runs of a sweep, in order.

    Attributes:
        runs: the runs.
        at_once: how many run at a time.
    """

    runs: tuple[Planned, ...]
    at_once: int = 1

    def write(self, file: Path) -> None:
        """Write it for the processes of the jobs."""
        runs = [asdict(run) for run in self.runs]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"runs": runs, "at_once": self.at_once}), encoding="utf-8")

    def place(self, overrides: Sequence[str]) -> tuple[int, int] | None:
        """Where a run is among all, counted from 1; None if it is none of them."""
        places = [k for k, run in enumerate(self.runs, 1) if run.overrides == tuple(overrides)]
        return (places[0], len(self.runs)) if places else None

    def seconds(self, pace: float = 1.0) -> float | None:
        """Seconds that all runs take, about; None if that of one is not known.

        Args:
            pace: what evaluation takes, in units of the estimate.
        """
        each = [_sum(run.training, run.evaluation, pace) for run in self.runs]
        shared = {run.shared: run.once for run in self.runs if run.training or run.evaluation}
        known = [seconds for seconds in each if seconds is not None]
        if len(known) < len(each):
            return None
        return sum(shared.values()) + max(sum(known) / self.at_once, max(known, default=0.0))

    def left(
        self, overrides: Sequence[str], own: float | None, done: Sequence[Outcome]
    ) -> float | None:
        """Seconds that are left of the sweep; None if unknown.

        Args:
            overrides: of the run that is at work.
            own: seconds that are left of it.
            done: what has been told of runs that have ended.
        """
        if own is None:
            return None
        ended = {outcome.overrides: outcome for outcome in done}
        both = [(ended[r.overrides], r) for r in self.runs if r.overrides in ended]
        estimated = sum(run.evaluation or 0.0 for _, run in both)
        taken = sum(outcome.rest for outcome, run in both if run.evaluation)
        pace = taken / estimated if estimated and taken else 1.0
        others = [r for r in self.runs if r.overrides not in (*ended, tuple(overrides))]
        seconds = replace(self, runs=tuple(replace(r, once=0.0) for r in others)).seconds(pace)
        return None if seconds is None else max(own, seconds + own / self.at_once)

    def text(self) -> str:
        """What is to be done, for readers: one line, and a table of the kinds of run."""
        todo = [run for run in self.runs if run.state not in DONE]
        words = [f"{len(self.runs)} runs" if len(self.runs) > 1 else "1 run"]
        for state, said in _SAID.items():
            if count := sum(run.state == state for run in self.runs):
                words.append(f"{count} {said}")
        words += [f"{self.at_once} at a time"] if self.at_once > 1 and todo else []
        first = ", ".join(words)
        if todo:
            total = self.seconds()
            first += ": " + ("not timed here" if total is None else f"{about(total)} in all")
        kinds: dict[str, list[Planned]] = {}
        for run, label in zip(self.runs, labels(self.runs, seeds=False), strict=True):
            if run in todo:
                kinds.setdefault(label, []).append(run)
        rows = [_row(kind, runs) for kind, runs in kinds.items()]
        once = {run.shared: run.once for run in todo if run.once}
        more = [f"{about(seconds)} once: {what}" for what, seconds in once.items()]
        table = _table([("runs", "training each", "evaluation each", ""), *rows]) if rows else []
        return "\n".join([first, *table, *(f"  {line}" for line in more)])


def read(file: Path) -> Outlook | None:
    """Read what `Outlook.write` wrote; None if there is no such file."""
    if not file.exists():
        return None
    written = json.loads(file.read_text(encoding="utf-8"))
    runs = (
        Planned(
            **{
                **run,
                "overrides": tuple(run["overrides"]),
                "forecast": Forecast(**run["forecast"]),
            }
        )
        for run in written["runs"]
    )
    return Outlook(tuple(runs), written["at_once"])


def labels(runs: Sequence[Planned], *, seeds: bool = True) -> list[str]:
    """What tells the runs of a sweep apart: the settings that differ, in few words.

    Args:
        runs: all of them.
        seeds: whether their seeds are named.
    """
    settings = [_settings(run, seeds) for run in runs]
    names = dict.fromkeys(name for each in settings for name in each)
    differing = [name for name in names if len({each.get(name) for each in settings}) > 1]
    shown = [name for name in names if name in differing or name == "model"]
    return [
        " ".join(_short(name, each[name]) for name in shown if name in each) or "defaults"
        for each in settings
    ]


def _settings(run: Planned, seeds: bool) -> dict[str, str]:
    """Settings by key: data set and model first, the seed last."""
    words = (word.lstrip("+~").partition("=") for word in run.overrides)
    given = {key: value for key, _, value in words if not INTERPOLATION.search(value)}
    own = {"dataset": run.dataset, "model": run.model, "seed": run.seed}
    known = {key: value or given.get(key, "") for key, value in own.items()}
    others = {key: value for key, value in given.items() if key not in (*own, "dataset.name")}
    last = {"seed": known["seed"]} if seeds else {}
    found = {"dataset": known["dataset"], "model": known["model"], **others, **last}
    return {key: value for key, value in found.items() if value}


def _short(name: str, value: str) -> str:
    """A setting in few letters: the last two names of its key, and its value."""
    if name in ("dataset", "model"):
        return value
    if name.endswith("._target_"):
        name, value = name.removesuffix("._target_"), value.rpartition(".")[2]
    return f"{'.'.join(name.split('.')[-2:])}={value}"


def about(seconds: float | None, *, exact: bool = False) -> str:
    """A time that was estimated, for readers."""
    if seconds is None:
        return "not timed"
    if 0 < seconds < 1:
        return "under 1 s"
    return duration(seconds) if exact or not seconds else f"about {duration(seconds)}"


def _sum(training: float | None, evaluation: float | None, pace: float) -> float | None:
    if training is None or evaluation is None:
        return None
    return training + pace * evaluation


def _row(kind: str, runs: Sequence[Planned]) -> tuple[str, ...]:
    def most(values: Sequence[float | None], *, exact: bool = False) -> str:
        known = [value for value in values if value is not None]
        return about(max(known) if len(known) == len(values) else None, exact=exact)

    trained = [run.training for run in runs]
    training = (
        most(trained, exact=all(run.exact for run in runs))
        if any(value != 0 for value in trained)
        else "none"
    )
    return str(len(runs)), training, most([run.evaluation for run in runs]), kind


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as aligned lines."""
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    lines = [
        f"{row[0]:>{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]}"
        for row in rows
    ]
    return [f"  {line}".rstrip() for line in lines]
