"""What the map's sliders look up: their stops, and the sentences of every cell at every price."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from bench.compare.map.contenders import Contender, prices
from bench.compare.map.grid import ANY, Map, Panel, Row
from bench.compare.map.sentences import headline, sentence
from bench.compare.topics.curves import Axis
from bench.compare.writers.html.map_cells import look
from bench.runtime.printing import duration, exact_duration

BUDGETS: dict[Axis, str] = {
    "train_seconds": "Training time",
    "images": "Images seen in training",
    "train_flops": "Operations of training",
}
"""What a budget is called, by what it counts."""

STEPS = 8
"""Stops of a slider for each doubling."""

Thresholds = Mapping[tuple[int, int], Sequence[float]]
"""Prices of a sample, in ms and ascending, from which something else stands for a family of a row:
by the places of its panel and row."""


class Sentences:
    """The sentences of all cells, each kept once: most cells share some."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def add(self, text: str) -> list[int]:
        """Places of the parts of a text, which are joined by spaces."""
        *ended, last = text.split(". ")
        parts = [*(f"{part}." for part in ended), last]
        return [self._places.setdefault(part, len(self._places)) for part in parts]

    def whole(self, text: str) -> int:
        """Place of a text that is kept undivided."""
        return self._places.setdefault(text, len(self._places))

    @property
    def kept(self) -> list[str]:
        """The parts by place."""
        return list(self._places)


def lookup(made: Map, said: Sentences) -> list[dict[str, Any]]:
    """What a script looks up for one group of models, a record for each panel with a result.

    Args:
        made: the map.
        said: takes the sentences; cells hold their places.
    """
    found = thresholds(made)
    shared = shared_prices(found.values())
    found_rows = [_rows(made, i) for i in range(len(made.panels))]
    return [
        _panel(made, i, measured, found, shared, said)
        for i, measured in enumerate(found_rows)
        if measured
    ]


def thresholds(made: Map) -> Thresholds:
    """The thresholds of every row, the first of which is the latency of the cheapest sampler."""
    found = {}
    for i, panel in enumerate(made.panels):
        for j, row in enumerate(panel.rows):
            before: tuple[Contender, ...] = ()
            own: list[float] = []
            for price in prices(row.comparison, made.group):
                entered = made.contenders(panel, row, price)
                if entered != before:
                    own.append(price)
                before = entered
            found[i, j] = own
    return found


def shared_prices(rows: Iterable[Sequence[float]]) -> dict[tuple[float, float], float]:
    """Few prices at which cells of all rows can be taken, since they hold up to the next threshold.

    Args:
        rows: the thresholds of each row.

    Returns:
        For each threshold and the next one of its row (`ANY` after the last one) a price from the
        first up to, and without, the second.
    """
    spans = {span for own in rows for span in _spans(own)}
    starts = sorted(start for start, _ in spans)
    found: dict[tuple[float, float], float] = {}
    price = -math.inf
    for start, end in sorted(spans, key=lambda span: span[1]):
        if price < start:
            price = max(other for other in starts if other < end)
        found[start, end] = price
    return found


def _spans(own: Sequence[float]) -> list[tuple[float, float]]:
    """Each threshold of a row with the next one; `ANY` comes after the last one."""
    return list(pairwise([*own, ANY]))


def stops(measured: Iterable[float], low: float, high: float) -> list[float]:
    """Stops of a slider: all measured values, and between them others even in the logarithm.

    Args:
        measured: positive values between both ends.
        low: the first stop.
        high: about the last one.
    """
    even = [low * 2 ** (k / STEPS) for k in range(1 + math.ceil(STEPS * math.log2(high / low)))]
    kept = set(measured)
    beside = {min(len(even) - 1, round(STEPS * math.log2(value / low))) for value in kept}
    return sorted(kept.union(stop for k, stop in enumerate(even) if k not in beside))


def worded(
    found: Sequence[float], measured: Iterable[float], words: Callable[[float], str]
) -> list[tuple[float, str]]:
    """Stops with their words, without those in between that are worded like another one."""
    kept = set(measured)
    said = set(map(words, kept))
    made = []
    for stop in found:
        text = words(stop)
        if stop in kept or text not in said:
            made.append((stop, text))
        said.add(text)
    return made


def _rows(made: Map, i: int) -> dict[int, list[int]]:
    """The columns with a result of each row of a panel that has one."""
    found: dict[int, list[int]] = {}
    for (panel, row, column), cell in made.cells(ANY).items():
        if panel == i and cell.scores:
            found.setdefault(row, []).append(column)
    return found


def _panel(
    made: Map,
    i: int,
    measured: Mapping[int, Sequence[int]],
    found: Thresholds,
    shared: Mapping[tuple[float, float], float],
    said: Sentences,
) -> dict[str, Any]:
    """A panel's stops, each with its words, and rows; None stands for "all images" and any price.

    The last number of images is that of the whole training set, if it is known.

    Args:
        made: the map.
        i: place of the panel.
        measured: the columns with a result of each row.
        found: thresholds of all rows.
        shared: at which prices cells are taken, see `shared_prices`.
        said: takes the sentences.
    """
    panel, leading = made.panels[i], headline(made)
    rows = [_row(made, (i, j), columns, found, shared, said) for j, columns in measured.items()]
    budgets = sorted({column["budget"] for row in rows for column in row["columns"]})
    latencies = sorted({price for row in rows for price in row["prices"]})
    counts = sorted({row["images"] for row in rows if row["images"] is not None})
    numbered = len(counts) > 0 and all(row["images"] is not None for row in rows)
    return {
        "place": i,
        "key": f"{panel.dataset} {panel.shape} {panel.axis}",
        "title": panel.title,
        "leads": leading is not None and any(row is leading.row for row in panel.rows),
        "start": _start(made, i, measured),
        "asks": BUDGETS[panel.axis],
        "budgets": worded(
            stops(budgets, budgets[0] / 2, budgets[-1] * 2), budgets, lambda b: _budget(b, panel)
        ),
        "images": _image_stops(counts) + ([] if numbered else [(None, "all")]),
        "smallest": counts[0] if counts else None,
        "largest": counts[-1] if numbered else None,
        "prices": [*_price_stops(latencies), (None, "any")],
        "rows": rows,
    }


def _start(made: Map, i: int, measured: Mapping[int, Sequence[int]]) -> tuple[int, int]:
    """Places of the row and column at which the sliders of a panel stand first.

    They are those of the headline, or what it would be about if there were no other panel.
    """
    found, cells, rows = headline(made), made.cells(ANY), made.panels[i].rows
    able = [(j, k) for j in measured for k in measured[j] if len(cells[i, j, k].able) > 1]
    led = [(j, k) for j, k in able if found is not None and rows[j] is found.row]
    last = max(measured)
    return max(led or able, default=(last, measured[last][-1]))


def _image_stops(counts: Sequence[int]) -> list[tuple[int, str]]:
    if not counts:
        return []
    made = stops(counts, max(1, counts[0] / 2), counts[-1] * 2)
    whole = {int(count) if count in counts else round(float(f"{count:.2g}")) for count in made}
    return [(count, f"{count:,}") for count in sorted(whole)]


def _price_stops(latencies: Sequence[float]) -> list[tuple[float, str]]:
    """Prices that are exactly what their words say, so that these are true of every sampler."""
    if not latencies:
        return []
    measured = {at_least(latency) for latency in latencies}
    made = stops(measured, min(measured) / 2, max(measured))
    rounded = sorted({price if price in measured else at_least(price) for price in made})
    return [(price, f"{price_words(price)} or less") for price in rounded]


def at_least(price: float) -> float:
    """The lowest price of a sample from this one on that `price_words` says exactly."""
    if price > 10:
        return float(math.ceil(price))
    rounded, unit = float(f"{price:.2g}"), 10.0 ** (math.floor(math.log10(price)) - 1)
    return rounded if rounded >= price else float(f"{rounded + unit:.2g}")


def price_words(price: float) -> str:
    """A price of a sample, such as "9.9 ms"."""
    return f"{price:.2g} ms" if price < 10 else f"{price:,.0f} ms"


def _budget(amount: float, panel: Panel) -> str:
    """A budget in words, with as many digits as neighbouring stops need to differ."""
    if panel.axis != "train_seconds":
        return panel.budget(amount)
    if amount < 100:
        return exact_duration(float(f"{amount:.2g}"))
    return exact_duration(5 * round(amount / 5)) if amount < 600 else duration(amount)


def _row(
    made: Map,
    place: tuple[int, int],
    columns: Sequence[int],
    found: Thresholds,
    shared: Mapping[tuple[float, float], float],
    said: Sentences,
) -> dict[str, Any]:
    """A row with its cells at each of its thresholds, and at any price."""
    panel, row, own = made.panels[place[0]], made.panels[place[0]].rows[place[1]], found[place]
    at = [(start, shared[start, end]) for start, end in _spans(own)]
    return {
        "place": place[1],
        "images": _images(row),
        "title": row.title,
        "trained_on": replace(row, more="").title,
        "measured": _measured(panel, row, [panel.columns[columns[k]] for k in (0, -1)]),
        "prices": [float(f"{price:.9g}") for price in own],  # means of equal ones are equal to them
        "columns": [_column(made, (*place, k), [*at, (ANY, ANY)], said) for k in columns],
    }


def _measured(panel: Panel, row: Row, ends: Sequence[float]) -> str:
    """Between which budgets a row was scored, without a capital letter and a full stop."""
    words = " to ".join(dict.fromkeys(panel.budget(end).removesuffix(" images") for end in ends))
    return {
        "train_seconds": f"training time was {words} with {row.title}",
        "images": f"in training with {row.title}, {words} images were seen",
        "train_flops": f"training with {row.title} took {words}",
    }[panel.axis]


def _column(
    made: Map, place: tuple[int, int, int], at: Sequence[tuple[float, float]], said: Sentences
) -> dict[str, Any]:
    """A cell's sentences at some prices, and how it looks: CSS classes and label.

    Args:
        made: the map.
        place: of the panel, row and column.
        at: prices, each with one at which the cell is taken.
        said: takes the sentences.
    """
    i, j, k = place
    panel, row = made.panels[i], made.panels[i].rows[j]
    cells = [(price, made.cells(taken)[place]) for price, taken in at]
    looks = [look(cell) for _, cell in cells]
    return {
        "place": k,
        "budget": panel.columns[k],
        "title": panel.budget(panel.columns[k]),
        "said": [said.add(sentence(panel, row, k, price, cell)) for price, cell in cells],
        "looks": [[said.whole(each.kind), said.whole(each.label)] for each in looks],
    }


def _images(row: Row) -> int | None:
    """The number of training images; None if all were used and their number is unknown."""
    if row.images.isdecimal():
        return int(row.images)
    sizes = {
        entry.protocol.get("reference_size", "").partition(" ")[0]  # starts with the training set's
        for entry in row.comparison.entries
        if entry.finished and entry.trained
    }
    (size,) = sizes if len(sizes) == 1 else ("",)
    return int(size) if size.isdecimal() and int(size) > 0 else None
