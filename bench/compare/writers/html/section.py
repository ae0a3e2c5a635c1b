"""The part of the report on one comparison: answer, figures, tables, pictures."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.compare.comparison import Comparison
from bench.compare.topics.page import Gallery, Topic
from bench.compare.topics.pictures import Grid
from bench.compare.topics.side_by_side import Exhibit
from bench.compare.writers.html.plotly import Figure


@dataclass(frozen=True)
class Part:
    """One comparison with its figures and pictures.

    Attributes:
        title: its heading; unique within the page.
        comparison: the comparison.
        topics: tables and text, in order.
        figures: interactive figures.
        trajectories: pictures of intermediate states of sampling.
        headline: the answer in a few sentences; empty if nothing was scored.
        settled: what is settled where the answer is not; often empty.
        more: other sentences of the answer.
        strip: samples side by side.
        number: makes ids unique if two titles give one id; 0 otherwise.
        leads: whether the report begins with its answer, that of a map.
    """

    title: str
    comparison: Comparison
    topics: Sequence[Topic]
    figures: Sequence[Figure]
    trajectories: Sequence[Grid]
    headline: Sequence[str] = ()
    settled: Sequence[str] = ()
    more: Sequence[str] = ()
    strip: Sequence[Exhibit] = ()
    number: int = 0
    leads: bool = False

    @property
    def name(self) -> str:
        """The id of its section; ids within it are this id, two hyphens and a suffix."""
        return identifier("data", *([str(self.number)] if self.number else []), self.title)

    @property
    def opening(self) -> tuple[str, str]:
        """The first sentence, "On <title>, …", as title and rest; the title is empty without it."""
        first, beginning = self.headline[0], f"On {self.title}"
        if first.startswith(f"{beginning}, "):
            return self.title, first[len(beginning) :]
        return "", first

    def picture_id(self, number: int) -> str:
        """The id of a picture of the strip, counted from 1."""
        return f"{self.name}--picture-{number}"

    @property
    def held(self) -> dict[str, Path]:
        """The pictures of the strip, by the id of their place."""
        strip = enumerate(self.strip, start=1)
        return {self.picture_id(k): of.source for k, of in strip if of.source is not None}

    @property
    def row_ids(self) -> list[str]:
        """Ids of the rows of the first table, in the order of the entries."""
        return [f"{self.name}--row-{k + 1}" for k in range(len(self.comparison.entries))]

    @property
    def grids(self) -> list[Grid]:
        """The pictures of samples."""
        blocks = (block for topic in self.topics for block in topic.blocks)
        return [g for block in blocks if isinstance(block, Gallery) for g in block.grids]

    @property
    def galleries(self) -> list[Topic]:
        """The topics with pictures."""
        return [topic for topic in self.topics[1:] if _has_pictures(topic)]

    @property
    def folded(self) -> list[Topic]:
        """The other topics after the first, without the protocol, which has its own section."""
        others = (topic for topic in self.topics[1:] if topic.heading != "Protocol")
        return [topic for topic in others if not _has_pictures(topic)]

    @property
    def charts(self) -> list[Figure]:
        """The figures that stand together, below the first topic."""
        headings = {topic.heading for topic in self.folded}
        return [figure for figure in self.figures if figure.title not in headings]

    def figures_of(self, topic: Topic) -> list[Figure]:
        """The figures that have the heading of a topic, which stand above its tables."""
        return [figure for figure in self.figures if figure.title == topic.heading]

    @property
    def counts(self) -> str:
        """Numbers of runs, models and seeds."""
        runs = self.comparison.runs
        left = sum(run.state != "finished" for run in runs)
        models = {(run.model, run.variant) for run in runs}
        without = f", {left} of them without a result" if left else ""
        return (
            f"{_many(len(runs), 'run')}{without}: {_many(len(models), 'model')}, "
            f"{_many(len({run.seed for run in runs}), 'seed')}"
        )


def numbered(parts: Sequence[Part]) -> list[Part]:
    """The parts, numbered if two would have the same name."""
    if len({part.name for part in parts}) == len(parts):
        return list(parts)
    return [replace(part, number=k) for k, part in enumerate(parts, start=1)]


def identifier(*words: str) -> str:
    """An HTML id of letters, digits and hyphens."""
    return "-".join(re.sub(r"[^A-Za-z0-9]+", "-", word).strip("-") or "x" for word in words)


def _has_pictures(topic: Topic) -> bool:
    return any(isinstance(block, Gallery) for block in topic.blocks)


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
