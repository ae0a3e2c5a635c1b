"""The map: panels of one size each, rows by number of training images, columns by budget."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from bench.columns import NOMINAL
from bench.compare.cells import exact, natural
from bench.compare.comparison import Comparison, comparable, ranked_by
from bench.compare.map.contenders import (
    AXES,
    TOLERANCE,
    Contender,
    Group,
    absent,
    contenders,
    prices,
)
from bench.compare.map.verdicts import Cell, make_cell, settle
from bench.compare.topics.blindness import blind_sentences, classifier_error
from bench.compare.topics.curves import Axis
from bench.compare.topics.settled import is_sequential, margin_of
from bench.evaluation.classifier_error import WARN_ABOVE, error_sentence
from bench.runtime.printing import exact_duration
from bench.schema import FIELDS, MEASURED

ANY = math.inf
"""The price of a sample that admits every sampler."""

ROUNDED = 0.005
"""Largest relative change by which the budget of a column is rounded: evaluation points lie up to
a training step behind a round number."""

PRICES = (ANY, 10.0, 1.0)
"""The prices of a sample, in ms, that the map is shown for."""

UNLIMITED = "{place}: not on the map, its budget limits no seconds, images or operations."
WITHOUT = "{place}: not on the map, no model of a family has a result."
BLIND = "{place}: not on the map, its FID does not tell known bad samples from real ones."
CONDITIONAL = "{place}: not on the map, which compares unconditional models."
NOMINAL_SECONDS = (
    "times of training are nominal, images over the speed that a model has on a quiet machine "
    "(budget.images_per_second), so that no FID depends on how busy a machine was."
)
MADE_ON = "{places}: trained and timed on {machine}."
OTHER_FEATURES = (
    "{place}: where FID ({extractor}) was measured, it names the same leader in {same} of {all} "
    "{cells}{other}."
)
BY: Mapping[Axis, str] = {
    "train_seconds": "by time of training",
    "images": "by images seen in training",
    "train_flops": "by operations of training",
}
"""How budgets are counted, in titles of panels of one data set and size."""

ONE = "{place}: only one family has a result ({family})."


@dataclass(frozen=True)
class Row:
    """The runs of one number of training images.

    Attributes:
        images: number of images as the protocol names it, such as "250" or "all".
        limit: the budget of its runs.
        comparison: the runs.
        more: other settings that tell it apart from rows of as many images; often empty.
    """

    images: str
    limit: float
    comparison: Comparison
    more: str = ""

    @property
    def title(self) -> str:
        """Its heading."""
        words = "all images" if self.images == "all" else f"{int(self.images):,} images"
        return f"{words} ({self.more})" if self.more else words


@dataclass(frozen=True)
class Panel:
    """One size of one data set.

    Attributes:
        dataset: name of the data set.
        shape: shape of a sample, as the protocol names it.
        axis: what budgets count.
        columns: budgets, ascending.
        rows: by number of images, ascending.
        more: what tells it apart from panels of the same data set and size; often empty.
    """

    dataset: str
    shape: str
    axis: Axis
    columns: tuple[float, ...]
    rows: tuple[Row, ...]
    more: str = ""

    @property
    def title(self) -> str:
        """Its heading, such as "fashion_mnist, 28×28"; a name that ends in its size loses that."""
        channels, _, sides = self.shape.partition("x")
        name = self.dataset
        if sides:
            colour = " in colour" if channels == "3" else ""
            name = name.removesuffix(f"_{sides.partition('x')[0]}")
            name = f"{name}, {sides.replace('x', '×')}{colour}"
        return f"{name}, {self.more}" if self.more else name

    def budget(self, column: float) -> str:
        """A budget in words, such as "2 min" or "30k images"."""
        return budget_words(column, self.axis)


@dataclass(frozen=True)
class Map:
    """Who is ahead where.

    Attributes:
        panels: one for each data set and size.
        group: which models stand for families.
        skipped: sentences on runs that are not on it, or have no rival.
    """

    panels: tuple[Panel, ...]
    group: Group
    skipped: tuple[str, ...] = ()
    _cells: dict[float, Mapping[tuple[int, int, int], Cell]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def cells(self, price: float) -> Mapping[tuple[int, int, int], Cell]:
        """The cells at a price of a sample, by panel, row and column; corrected together.

        A cell beyond the budget of its row's runs is empty.
        """
        if price not in self._cells:
            found: dict[tuple[int, int, int], Cell] = {}
            for i, panel in enumerate(self.panels):
                for j, row in enumerate(panel.rows):
                    for k, cell in enumerate(self._row_by_all(panel, row, price)):
                        found[i, j, k] = cell
            settled = settle(list(found.values()))
            self._cells[price] = dict(zip(found, settled, strict=True))
        return self._cells[price]

    def _row_by_all(self, panel: Panel, row: Row, price: float) -> Iterable[Cell]:
        """The cells of a row, before the correction, with who leads by further extractors."""
        further = {}
        for name in row.comparison.extractors[1:]:
            judged = replace(row, comparison=ranked_by(row.comparison, name))
            further[name] = [cell.leader for cell in self._row(panel, judged, price)]
        for k, cell in enumerate(self._row(panel, row, price)):
            found = [(name, leaders[k]) for name, leaders in further.items()]
            known = tuple((name, leader.contender.family) for name, leader in found if leader)
            yield replace(cell, by_others=known) if cell.leader else cell

    def _row(self, panel: Panel, row: Row, price: float) -> Iterable[Cell]:
        """The cells of a row, before the correction."""
        fair = comparable(row.comparison)
        entered = self.contenders(panel, row, price)
        without = tuple(absent(row.comparison, panel.axis, price, self.group).items())
        for k, budget in enumerate(panel.columns):
            before = panel.columns[k - 1] if k else None
            cell = make_cell(
                entered,
                budget,
                before,
                sequential=is_sequential(fair),
                margin=margin_of(fair),
            )
            yield replace(cell, missing=(*cell.missing, *without)) if cell.scores else cell

    def contenders(self, panel: Panel, row: Row, price: float) -> tuple[Contender, ...]:
        """What stands for each family in a row."""
        return contenders(row.comparison, panel.axis, price, self.group)

    @cached_property
    def prices(self) -> tuple[float, ...]:
        """The latencies of samplers of what stands for families, in ms, ascending.

        Only there cells can change.
        """
        rows = (row for panel in self.panels for row in panel.rows)
        return tuple(sorted({p for row in rows for p in prices(row.comparison, self.group)}))

    @property
    def compared(self) -> bool:
        """Whether some cell has two families."""
        return any(len(cell.scores) > 1 for cell in self.cells(ANY).values())

    @cached_property
    def stands(self) -> frozenset[tuple[int, int, str, str]]:
        """What stands for each family of each row, at any price: family and label."""
        return frozenset(
            (i, j, each.family, each.label)
            for i, panel in enumerate(self.panels)
            for j, row in enumerate(panel.rows)
            for each in self.contenders(panel, row, ANY)
        )

    @cached_property
    def caveats(self) -> tuple[str, ...]:
        """Sentences on machines, nominal seconds, a FID by a poor classifier, and a second FID."""
        found = dict.fromkeys([*self._machines(), *self._nominal()])
        for i, panel in enumerate(self.panels):
            for row in panel.rows:
                extractors = row.comparison.extractors
                error = classifier_error(row.comparison, extractors[0])
                if error is not None and error > WARN_ABOVE:
                    said = error_sentence(extractors[0], error, extractors)
                    found[f"{panel.title}: {said}"] = None
            found |= dict.fromkeys(self._by_other_features(i, panel))
        return tuple(found)

    def _nominal(self) -> Iterator[str]:
        """Which panels, or rows of them, count nominal seconds."""
        rows = [(panel, row) for panel in self.panels for row in panel.rows]
        nominal = [(panel, row) for panel, row in rows if _is_nominal(row.comparison)]
        places = dict.fromkeys(
            f"{panel.title}, {row.title}" if row.more else panel.title for panel, row in nominal
        )
        if nominal:
            named = "all runs" if len(nominal) == len(rows) else "; ".join(places)
            yield f"{named}: {NOMINAL_SECONDS}"

    def _machines(self) -> Iterator[str]:
        """Which panels were made on which machine."""
        places: dict[str, dict[str, None]] = {}
        for panel in self.panels:
            rows = [(row, _machine(row.comparison)) for row in panel.rows]
            several = len({machine for _, machine in rows}) > 1
            for row, machine in rows:
                place = f"{panel.title}, {row.title}" if several else panel.title
                places.setdefault(machine, {})[place] = None
        for machine, found in places.items():
            if machine:
                named = "; ".join(found) if len(places) > 1 else "all runs"
                yield MADE_ON.format(places=named, machine=machine)

    def _by_other_features(self, i: int, panel: Panel) -> Iterator[str]:
        """Where other extractors than the first name the same leader, and who leads elsewhere."""
        names = {name: None for row in panel.rows for name in row.comparison.extractors[1:]}
        here = {key: cell for key, cell in self.cells(ANY).items() if key[0] == i}
        for extractor in names:
            all_cells, others = 0, []
            for (_, j, k), cell in here.items():
                all_cells += extractor in dict(cell.by_others)
                if family := dict(cell.dissent).get(extractor):
                    where = f"{panel.budget(panel.columns[k])}, {panel.rows[j].title}"
                    others.append(f"the {family} at {where}")
            if all_cells:
                yield OTHER_FEATURES.format(
                    place=panel.title,
                    extractor=extractor,
                    same=all_cells - len(others),
                    all=all_cells,
                    cells=f"cell{'s' * (all_cells != 1)}",
                    other=f"; elsewhere {'; '.join(others)}" if others else "",
                )

    @cached_property
    def families(self) -> tuple[str, ...]:
        """The families with a result anywhere, in the order of conf/families.yaml."""
        found: dict[str, None] = {}
        for panel in self.panels:
            for row in panel.rows:
                found |= dict.fromkeys(c.family for c in self.contenders(panel, row, ANY))
        return tuple(found)


def make_map(comparisons: Sequence[Comparison], group: Group = "flagships") -> Map:
    """The map of some comparisons, which may be without panels.

    Args:
        comparisons: of any data sets and protocols.
        group: which models stand for families.
    """
    rows: dict[tuple[str, str, Axis], list[Row]] = {}
    skipped = []
    for comparison in comparisons:
        protocol = _protocol(comparison)
        axis, limit = _limit(protocol.get("budget", ""))
        if not protocol.get("budget") and not any(e.trained for e in comparison.entries):
            continue  # nothing was trained
        if comparison.kind:
            skipped.append(CONDITIONAL.format(place=comparison.title))
            continue
        if not any(entry.finished and entry.trained for entry in comparison.entries):
            skipped.append(WITHOUT.format(place=comparison.title))
            continue
        if axis is None:
            skipped.append(UNLIMITED.format(place=comparison.title))
            continue
        found = contenders(comparison, axis, ANY, group)
        if not found:
            skipped.append(WITHOUT.format(place=comparison.title))
            continue
        if blind_sentences(comparison, comparison.extractors[0], [MEASURED["fid"]]):
            skipped.append(BLIND.format(place=comparison.title))
            continue
        if len(found) == 1:
            skipped.append(ONE.format(place=comparison.title, family=found[0].family))
        images = protocol.get("train_images", "") or "all"
        key = comparison.dataset, protocol.get("image_shape", ""), axis
        rows.setdefault(key, []).append(Row(images, limit, comparison))
    panels = [
        _panel(*key, of_panel, group)
        for key, of_panel in sorted(rows.items(), key=lambda item: _panel_key(item[0]))
    ]
    titles = [panel.title for panel in panels]
    told = (
        replace(panel, more=BY[panel.axis]) if titles.count(panel.title) > 1 else panel
        for panel in panels
    )
    return Map(tuple(told), group, tuple(skipped))


def _protocol(comparison: Comparison) -> Mapping[str, str]:
    """The protocol of the trained entries; empty without one."""
    return next((e.protocol for e in comparison.entries if e.finished and e.trained), {})


def _machine(comparison: Comparison) -> str:
    """Processor, numbers of threads and processes, and precision; empty if not recorded."""
    protocol = _protocol(comparison)
    device, threads, processes, precision = (
        protocol.get(name, "") for name in ("device", "threads", "processes", "precision")
    )
    counts = [f"{threads} thread{'s' * (threads != '1')}"] if threads else []
    counts += [f"{processes} processes"] if processes not in ("", "1") else []
    return ", ".join(filter(None, (device, *counts, precision)))


def _is_nominal(comparison: Comparison) -> bool:
    """Whether seconds are counted in images at a nominal speed."""
    return NOMINAL in _protocol(comparison).get("budget", "")


def _limit(budget: str) -> tuple[Axis | None, float]:
    """What the first limit of a budget such as "seconds=120" counts, and its size."""
    for limit in budget.split(","):
        name, _, amount = limit.strip().partition("=")
        if name in AXES:
            try:
                return AXES[name], float(amount)
            except ValueError:
                continue
    return None, math.nan


def _panel_key(key: tuple[str, str, Axis]) -> tuple[object, ...]:
    """Panels stand by data set and, within families of names such as x_8 and x_16, by size."""
    dataset, shape, axis = key
    size = math.prod(int(n) for n in shape.split("x") if n.isdecimal())
    base = dataset.rstrip("0123456789").rstrip("_")
    return base, size, natural(dataset), axis


def _panel(dataset: str, shape: str, axis: Axis, rows: Sequence[Row], group: Group) -> Panel:
    """A panel with its rows in order, and the budgets of all of them."""
    ordered = sorted(rows, key=lambda row: (_images(row.images), row.limit))
    counts = [row.images for row in ordered]
    told = [
        replace(row, more=_more(row, axis)) if counts.count(row.images) > 1 else row
        for row in ordered
    ]
    return Panel(dataset, shape, axis, _columns(told, axis, group), tuple(told))


def _images(text: str) -> float:
    return math.inf if text == "all" or not text.isdecimal() else float(text)


def _more(row: Row, axis: Axis) -> str:
    """What tells a row apart from others of as many images: its budget and other protocol."""
    nominal = ", nominal" if _is_nominal(row.comparison) else ""
    words = [f"runs of {budget_words(row.limit, axis)}{nominal}"]
    for name, value in row.comparison.values.items():
        if name not in ("budget", "train_images", "image_shape"):
            words.append(f"{FIELDS[name].label} {value}")
    return ", ".join(words)


def _columns(rows: Sequence[Row], axis: Axis, group: Group) -> tuple[float, ...]:
    """The budgets at which models of the rows were scored, ascending.

    Evaluation points lie up to a training step behind the budget, which is the smallest of those
    that lie within half of `TOLERANCE`.
    """
    spent = sorted(
        point
        for row in rows
        for contender in contenders(row.comparison, axis, ANY, group)
        for along in contender.points.values()
        for point, _ in along
    )
    columns: list[float] = []
    for point in spent:
        if not columns or point > columns[-1] * (1 + TOLERANCE / 2):
            columns.append(point)
    return tuple(_floored(column) for column in columns)


def _floored(value: float) -> float:
    """A positive number cut to the fewest significant digits that change it little."""
    cut = value
    for digits in (2, 3, 4):
        unit = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
        cut = float(f"{math.floor(value / unit * (1 + 1e-12)) * unit:.4g}")
        if cut >= (1 - ROUNDED) * value:
            break
    return cut


def budget_words(amount: float, axis: Axis) -> str:
    """A budget in words, such as "2 min", "30k images" or "1.5e+13 FLOPs"."""
    if axis == "train_seconds":
        return exact_duration(amount)
    return f"{exact(amount)} images" if axis == "images" else f"{amount:.2g} FLOPs"
