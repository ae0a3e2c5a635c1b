"""Questions that runs are to settle, and how far they have settled them. Read by bench.decide."""

from dataclasses import dataclass
from typing import Literal

State = Literal["settled", "equal", "open"]
"""Settled: one side is better. Equal: the difference lies within the margin. Open: neither is
shown yet."""


@dataclass(frozen=True)
class Question:
    """One comparison that a verdict rests on.

    Attributes:
        name: tells it apart from all others of a project.
        asks: the question in words, such as "Which has the lower FID on digits, A or B?".
        place: title of the comparison, such as the data set.
        state: how far it is settled.
        answer: the finding in words, with the estimate and its interval; for an open question
            what is known so far.
        path: the evidence after each seed that there is a difference, e-values.
        equal_path: the evidence after each seed for practical equality; empty if equality answers
            nothing.
        threshold: the e-value that settles it, corrected for the questions that belong together.
        needed: estimated number of all seeds that settle it; NaN with fewer than two seeds,
            infinite if out of reach.
        needs: what has to run once more for one more seed: keys (model, variant) of entries for
            differences between models; for claims (data set, model, variant), or the names of
            grids where a test uses all of their runs.
        dropped: whether it is not asked any more: one of its models is shown to be worse than
            another one, or what it is asked for is known without it.
        verdict: name of the verdict that it is part of with others; empty if it is one by itself.
        part: name of the part of that verdict for which one of several questions is enough.
        alone: whether that verdict follows from what it leans to, whatever the other parts say.
        seeds_each: number of seeds behind each item of `path`.
    """

    name: str
    asks: str
    place: str
    state: State
    answer: str
    path: tuple[float, ...]
    equal_path: tuple[float, ...]
    threshold: float
    needed: float
    needs: tuple[str, ...] | tuple[tuple[str, ...], ...]
    dropped: bool = False
    verdict: str = ""
    part: str = ""
    alone: bool = True
    seeds_each: int = 1

    @property
    def seeds(self) -> int:
        """Number of seeds behind it."""
        return self.seeds_each * len(self.path)
