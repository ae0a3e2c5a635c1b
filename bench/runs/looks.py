"""How a run came to be made by bench.decide: the rule, the margin, and after which look."""

import math
import os
import time
from dataclasses import dataclass, field
from typing import Literal

from bench.runs.directory import Status
from bench.runtime.jobs import LOOK

ENVIRONMENT = LOOK
"""Environment variable: what jobs record as their look, as `Look.text` writes it."""

RULE = "e-process"
"""The rule by which bench.decide stops (bench/compare/sequential.py)."""


@dataclass(frozen=True)
class Look:
    """What is recorded in status.json of a run that was made sequentially.

    Attributes:
        rule: name of the stopping rule.
        margin: ratios within [1 / margin, margin] count as practically equal.
        look: number of blocks of seeds that had been looked at before this run was started.
    """

    rule: str = RULE
    margin: float = 1.1
    look: int = 0

    @property
    def text(self) -> str:
        """The look in one line, such as "e-process margin=1.1 look=3"."""
        return f"{self.rule} margin={self.margin:g} look={self.look}"


def read_look(text: str) -> Look | None:
    """The look that `Look.text` wrote; None for an empty text, of a sweep over fixed seeds.

    Raises:
        ValueError: it is no such text.
    """
    if not text:
        return None
    try:
        rule, margin, look = text.split()
        ratio, number = float(margin.removeprefix("margin=")), int(look.removeprefix("look="))
        if not 1 < ratio < math.inf:
            raise ValueError(f"its margin is {ratio:g}, must be a ratio above 1")
        return Look(rule, ratio, number)
    except ValueError as error:
        raise ValueError(f"{text!r} does not say how a run was made sequentially") from error


@dataclass(frozen=True)
class Call:
    """One call of a run, as status.json records it.

    Attributes:
        command: the command line.
        sequential: see `Status.sequential`.
        before: seconds that earlier calls took.
        start: `time.perf_counter` when this one began.
        device: name of its CPU or GPU.
    """

    command: str = ""
    sequential: str = ""
    before: float = 0.0
    start: float = field(default_factory=time.perf_counter)
    device: str = ""

    @classmethod
    def after(cls, earlier: Status | None, command: str, start: float, device: str = "") -> "Call":
        """The call that goes on where earlier ones stopped.

        A run that is made sequentially stays so, whoever finishes it; one that a fixed sweep
        finished does not become sequential by being scored again.

        Args:
            earlier: the status that they left; None for a new run.
            command: the command line.
            start: `time.perf_counter` when this one began.
            device: name of its CPU or GPU.
        """
        now = os.environ.get(ENVIRONMENT, "")
        if earlier is None:
            return cls(command, now, start=start, device=device)
        kept = earlier.sequential or ("" if earlier.status == "finished" else now)
        return cls(command, kept, earlier.seconds, start, device)

    def status(
        self,
        status: Literal["running", "finished", "failed"],
        reason: str = "",
        step: int = 0,
        phase: str = "",
    ) -> Status:
        """The status at this moment; arguments are those of `Status`."""
        seconds = round(self.before + time.perf_counter() - self.start, 2)
        spent = (self.sequential, seconds, self.device)
        return Status(status, reason, step, phase, self.command, *spent)
