"""What the map's sliders look up: their stops, and the sentences of every cell at every price."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from bench.compare.cells import exact
from bench.compare.map.grid import ANY, Map, Panel, Row
from bench.compare.map.sentences import sentence
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

MERGED = 1.2
"""Prices whose ratio is at most this are one threshold, the highest of them: latencies of a sampler
differ that much between runs."""


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
    steps = thresholds(made.prices)
    return [_panel(made, i, steps, said) for i in range(len(made.panels)) if _rows(made, i)]


def thresholds(latencies: Sequence[float]) -> list[float]:
    """Prices of a sample at which cells may change: latencies, those close together merged.

    Args:
        latencies: ms, ascending.

    Returns:
        The highest latency of each part of which all lie within `MERGED` of its lowest.
    """
    found: list[float] = []
    lowest = math.nan
    for latency in latencies:
        if found and latency <= MERGED * lowest:
            found[-1] = latency
        else:
            found.append(latency)
            lowest = latency
    return found


def stops(measured: Iterable[float], low: float, high: float) -> list[float]:
    """Stops of a slider, even in the logarithm, each measured value in place of the nearest one.

    Args:
        measured: positive values between both ends.
        low: the first stop.
        high: about the last one.
    """
    found = [low * 2 ** (k / STEPS) for k in range(1 + math.ceil(STEPS * math.log2(high / low)))]
    for value in sorted(measured):
        found[min(len(found) - 1, round(STEPS * math.log2(value / low)))] = value
    return found


def _rows(made: Map, i: int) -> dict[int, list[int]]:
    """The columns with a result of each row of a panel that has one."""
    found: dict[int, list[int]] = {}
    for (panel, row, column), cell in made.cells(ANY).items():
        if panel == i and cell.scores:
            found.setdefault(row, []).append(column)
    return found


def _panel(made: Map, i: int, steps: Sequence[float], said: Sentences) -> dict[str, Any]:
    """A panel's stops, each with its words, and rows; None stands for "all images" and any price.

    The last number of images is that of the whole training set, if it is known.
    """
    panel, measured = made.panels[i], _rows(made, i)
    rows = [_row(made, i, j, columns, steps, said) for j, columns in measured.items()]
    budgets = sorted({column["budget"] for row in rows for column in row["columns"]})
    latencies = sorted({price for row in rows for price in row["prices"]})
    counts = sorted({row["images"] for row in rows if row["images"] is not None})
    numbered = len(counts) > 0 and all(row["images"] is not None for row in rows)
    return {
        "place": i,
        "title": panel.title,
        "asks": BUDGETS[panel.axis],
        "budgets": [
            (budget, _budget(budget, panel))
            for budget in stops(budgets, budgets[0] / 2, budgets[-1] * 2)
        ],
        "images": _image_stops(counts) + ([] if numbered else [(None, "all")]),
        "smallest": counts[0] if counts else None,
        "largest": counts[-1] if numbered else None,
        "prices": [*_price_stops(latencies), (None, "any")],
        "rows": rows,
    }


def _image_stops(counts: Sequence[int]) -> list[tuple[int, str]]:
    if not counts:
        return []
    made = stops(counts, max(1, counts[0] / 2), counts[-1] * 2)
    whole = [count if count in counts else round(float(f"{count:.2g}")) for count in made]
    return [(count, f"{count:,}") for count in map(int, dict.fromkeys(whole))]


def _price_stops(latencies: Sequence[float]) -> list[tuple[float, str]]:
    if not latencies:
        return []
    made = stops(latencies, latencies[0] / 2, latencies[-1])
    return [(price, f"{price_words(price)} or less") for price in made]


def price_words(price: float) -> str:
    """A price of a sample, such as "9.9 ms"."""
    return f"{price:.2g} ms" if price < 10 else f"{exact(round(price))} ms"


def _budget(amount: float, panel: Panel) -> str:
    """A budget in words, with as many digits as neighbouring stops need to differ."""
    if panel.axis != "train_seconds":
        return panel.budget(amount)
    if amount < 100:
        return exact_duration(float(f"{amount:.2g}"))
    return exact_duration(5 * round(amount / 5)) if amount < 600 else duration(amount)


def _row(
    made: Map, i: int, j: int, columns: Sequence[int], steps: Sequence[float], said: Sentences
) -> dict[str, Any]:
    """A row with its cells at any price, and at those from which other samplers can be used."""
    panel, row = made.panels[i], made.panels[i].rows[j]
    own: list[float] = []
    known: set[tuple[str, ...]] = set()
    for price in steps:
        entered = _entered(made, i, j, price)
        if entered - known:
            own.append(price)
            known = entered
    ends = [panel.budget(panel.columns[k]) for k in (columns[0], columns[-1])]
    return {
        "place": j,
        "images": _images(row),
        "title": row.title,
        "span": " to ".join(dict.fromkeys(ends)),
        "prices": own,
        "columns": [_column(made, (i, j, k), (*own, ANY), said) for k in columns],
    }


def _column(
    made: Map, place: tuple[int, int, int], at: Sequence[float], said: Sentences
) -> dict[str, Any]:
    """A cell's sentences at some prices, and how it looks: CSS classes and label."""
    i, j, k = place
    panel, row = made.panels[i], made.panels[i].rows[j]
    cells = [(price, made.cells(price)[place]) for price in at]
    looks = [look(cell) for _, cell in cells]
    return {
        "place": k,
        "budget": panel.columns[k],
        "title": panel.budget(panel.columns[k]),
        "said": [said.add(sentence(panel, row, k, price, cell)) for price, cell in cells],
        "looks": [[said.whole(each.kind), said.whole(each.label)] for each in looks],
    }


def _entered(made: Map, i: int, j: int, price: float) -> set[tuple[str, ...]]:
    """What stands for the families of a row at a price."""
    return {
        (score.contender.family, score.contender.label, score.contender.sampler)
        for (panel, row, _), cell in made.cells(price).items()
        if (panel, row) == (i, j)
        for score in cell.scores
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
