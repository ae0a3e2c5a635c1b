"""The part of the page that shows one comparison: figures, tables, pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.compare.cells import Table
from bench.compare.comparison import Comparison
from bench.compare.topics.page import Block, Gallery, Notes, Topic
from bench.compare.topics.pictures import Grid
from bench.compare.writers.html.pictures import Album
from bench.compare.writers.html.plotly import Figure, figure_html
from bench.compare.writers.html.tables import Html, element, identifier, joined, table_html


@dataclass(frozen=True)
class Part:
    """One comparison with all that the page shows of it.

    Attributes:
        title: its heading; tells it from the other parts.
        comparison: the comparison.
        topics: tables and text, in order.
        figures: drawn by plotly.js.
        trajectories: pictures of samples on their way from noise.
        number: tells its ids from those of a part whose title differs in signs only; 0 where none
            does.
    """

    title: str
    comparison: Comparison
    topics: Sequence[Topic]
    figures: Sequence[Figure]
    trajectories: Sequence[Grid]
    number: int = 0

    @property
    def name(self) -> str:
        """The id of its section; ids within it go on after two hyphens, which no name has."""
        return identifier("data", *([str(self.number)] if self.number else []), self.title)

    @property
    def row_ids(self) -> list[str]:
        """Ids of the rows of the first table, in the order of the entries."""
        return [f"{self.name}--row-{k + 1}" for k in range(len(self.comparison.entries))]

    @property
    def grids(self) -> list[Grid]:
        """The pictures of samples."""
        blocks = (block for topic in self.topics for block in topic.blocks)
        return [g for block in blocks if isinstance(block, Gallery) for g in block.grids]


def numbered(parts: Sequence[Part]) -> list[Part]:
    """The parts with names of their own: numbered if two would share one."""
    if len({part.name for part in parts}) == len(parts):
        return list(parts)
    return [replace(part, number=k) for k, part in enumerate(parts, start=1)]


def part_html(part: Part, album: Album) -> Html:
    """Write a part: the first topic, figures, pictures, and the others below, foldable."""
    first, *others = part.topics
    shown = [topic for topic in others if topic.heading != "Protocol"]
    galleries = [topic for topic in shown if _pictures(topic)]
    rest = [topic for topic in shown if not _pictures(topic)]
    return element(
        "section",
        element("h2", part.title),
        element("p", _counts(part.comparison), class_="small"),
        element("h3", first.heading),
        _blocks(first, part, album, ids=part.row_ids),
        _figures(part),
        *(_topic(topic, part, album) for topic in galleries),
        _trajectories(part, album),
        *(_folded(topic, part, album, k) for k, topic in enumerate(rest, start=1)),
        id=part.name,
    )


def _pictures(topic: Topic) -> bool:
    return any(isinstance(block, Gallery) for block in topic.blocks)


def _counts(comparison: Comparison) -> str:
    """What the part was made from."""
    runs = comparison.runs
    finished = sum(run.state == "finished" for run in runs)
    models = len({(run.model, run.variant) for run in runs})
    seeds = len({run.seed for run in runs})
    other = f", {len(runs) - finished} of them without result" if finished < len(runs) else ""
    return f"{_many(len(runs), 'run')}{other}: {_many(models, 'model')}, {_many(seeds, 'seed')}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _figures(part: Part) -> Html:
    made = [
        figure_html(figure, f"{part.name}--figure-{k + 1}") for k, figure in enumerate(part.figures)
    ]
    return element("div", *made, class_="charts") if made else Html("")


def _trajectories(part: Part, album: Album) -> Html:
    if not part.trajectories:
        return Html("")
    sentence = (
        "Samples on their way from noise, one a row, from left to right: what the sampler had "
        "at evenly spaced steps."
    )
    return joined(
        [
            element("h3", "From noise to samples"),
            element("p", sentence),
            album.gallery(part.trajectories, wide=True),
        ]
    )


def _topic(topic: Topic, part: Part, album: Album) -> Html:
    return joined([element("h3", topic.heading), _blocks(topic, part, album)])


def _folded(topic: Topic, part: Part, album: Album, number: int) -> Html:
    """A topic that opens on a click; open already if it is prominent."""
    summary = element("summary", element("h3", topic.heading))
    name = f"{part.name}--{number}-{identifier(topic.heading)}"
    return element(
        "details",
        summary,
        _blocks(topic, part, album),
        class_="topic",
        id=name,
        open=topic.prominent,
    )


def _blocks(topic: Topic, part: Part, album: Album, ids: Sequence[str] = ()) -> Html:
    name = f"{topic.heading}, {part.title}"
    return joined(_block(block, name, album, ids) for block in topic.blocks)


def _block(block: Block, name: str, album: Album, ids: Sequence[str]) -> Html:
    if isinstance(block, Table):
        return table_html(block, name, ids=ids)
    if isinstance(block, Notes):
        return element("ul", *(element("li", s) for s in block.sentences), class_="notes")
    if isinstance(block, Gallery):
        return album.gallery(block.grids)
    return element("p", block, class_="prose")
