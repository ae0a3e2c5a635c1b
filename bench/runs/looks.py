"""How a run came to be made by bench.decide: the rule, the margin, and after which look."""

from dataclasses import dataclass

ENVIRONMENT = "BENCH_LOOK"
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
        return Look(rule, float(margin.removeprefix("margin=")), int(look.removeprefix("look=")))
    except ValueError as error:
        raise ValueError(f"{text!r} does not say how a run was made sequentially") from error
