"""Tables as HTML: sortable by their headings, filterable, each row with an anchor."""

import html
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from bench.compare.cells import NOTHING, Cell, Table

VOID = frozenset({"img", "input", "meta"})
"""Elements without content."""


class Html(str):
    """Text that is markup, made by this module; any other text is escaped."""

    __slots__ = ()


def escaped(text: str) -> Html:
    """Text as markup that shows it, within elements and in quoted attributes."""
    return text if isinstance(text, Html) else Html(html.escape(text, quote=True))


def joined(parts: Iterable[str]) -> Html:
    """Several texts or elements, one after the other."""
    return Html("".join(map(escaped, parts)))


def element(name: str, /, *children: str, **attributes: str | bool) -> Html:
    """An element.

    Args:
        name: such as "p".
        children: elements, or text, which is escaped.
        attributes: by name, underscores for hyphens, such as class_="best" or data_label="x"; True
            stands for an attribute without value, False for none.
    """
    words = [name]
    for key, value in attributes.items():
        attribute = key.strip("_").replace("_", "-")
        if value is True:
            words.append(attribute)
        elif value is not False:
            words.append(f'{attribute}="{escaped(value)}"')
    opening = f"<{' '.join(words)}>"
    return Html(opening if name in VOID else f"{opening}{joined(children)}</{name}>")


def prose(text: str) -> Html:
    """A sentence in which `code` and **strong words** are marked as in Markdown."""
    shown = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped(text))
    return Html(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", shown))


def breakable(text: str) -> Html:
    """A name that may go on in the next line after an underscore, for narrow columns."""
    return Html(escaped(text).replace("_", "_<wbr>"))


def data_script(value: Any, **attributes: str) -> Html:
    """Data for scripts: JSON that no text within it can end.

    Raises:
        ValueError: a number that is not finite, which JSON does not have.
    """
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return element("script", Html(text), type="application/json", **attributes)


def identifier(*words: str) -> str:
    """An id for anchors: letters, digits and hyphens only."""
    return "-".join(re.sub(r"[^A-Za-z0-9]+", "-", word).strip("-") or "x" for word in words)


FILTERED = 5
"""Tables of so many rows or more have a field to filter them by."""

SPREAD = re.compile(r"^(\S+)( (?:±|\[).*)$", re.DOTALL)
"""A cell's value, and what says how certain it is."""

LONG = 30
"""Letters of a text that is broken into lines."""

STATES = frozenset({"failed", "unfinished"})
"""Stand in place of a value that a run does not have."""


def table_html(table: Table, name: str, *, ids: Sequence[str] = ()) -> Html:
    """Write a table with its tools.

    Args:
        table: headings and cells.
        name: what it shows, for those who do not see it.
        ids: of the rows, for links to them; none if there are none.
    """
    head = [_heading(heading, k < table.labels) for k, heading in enumerate(table.headings)]
    rows = [_row(row, table.labels, ids[k] if ids else "") for k, row in enumerate(table.rows)]
    body = element(
        "table",
        element("thead", element("tr", *head)),
        element("tbody", *rows),
    )
    scroll = element("div", body, class_="scroll", role="region", tabindex="0", aria_label=name)
    return element("div", _tools(table, name), scroll, class_="table")


def _tools(table: Table, name: str) -> Html:
    if len(table.rows) < FILTERED:
        return Html("")
    field = element("input", type="search", placeholder="Filter rows", aria_label=f"Filter: {name}")
    count = element("output", f"{len(table.rows)} rows")
    return element("div", field, count, class_="tools")


def _heading(text: str, is_label: bool) -> Html:
    """A heading that sorts; numbers where more is better start with the highest."""
    button = element("button", text, type="button")
    kind = "label" if is_label else "number"
    first = "descending" if text.endswith("↑") else "ascending"
    return element("th", button, scope="col", class_=kind, aria_sort="none", data_first=first)


def _row(cells: Sequence[Cell], labels: int, anchor: str) -> Html:
    made = [_cell(cell, k < labels, k == 0) for k, cell in enumerate(cells)]
    return element("tr", *made, id=anchor or False)


def _cell(cell: Cell, is_label: bool, is_first: bool) -> Html:
    """One cell; the first of a row names it."""
    key = False if cell.key is None else _key(cell.key)
    if is_first:
        return element("th", breakable(cell.text), scope="row", data_key=key)
    kind = "nothing" if cell.text == NOTHING else "state" if cell.text in STATES else ""
    if is_label:
        wraps = "long" if len(cell.text) > LONG else ""
        classes = " ".join(filter(None, ("label", kind, wraps)))
        return element("td", cell.text, class_=classes, data_key=key)
    text = _with_spread(cell.text)
    shown = element("strong", text) if cell.best else text
    return element("td", shown, class_=kind or False, data_key=key)


def _key(value: float) -> str:
    """A number as scripts read it."""
    return repr(value).replace("inf", "Infinity")


def _with_spread(text: str) -> Html:
    """A value, with its spread in a weaker tone."""
    parts = SPREAD.match(text)
    if parts is None:
        return escaped(text)
    return joined([parts[1], element("span", parts[2], class_="spread")])
