"""Pictures within the page: made small, a limited number of them, the others named."""

import base64
import io
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path

from bench.compare.topics.pictures import Grid
from bench.compare.writers.html.tables import Html, element, joined

MAX_PICTURES = 120
"""Pictures of a page, so that it stays light however many runs there are."""

MAX_BYTES = 6_000_000
"""Of all pictures of a page, before they are written as text, which adds a third."""

LARGE = 20_000
"""A file of more bytes is compressed."""

MAX_SIDE = 1200
"""Pixels; larger pictures are reduced."""

SHOWN, SHOWN_WIDE = 200, 480
"""Pixels that a picture is shown at, about, as the style sheet has it."""

Picture = tuple[str, int, int]
"""A picture as data: URI, its width and its height in pixels."""


class Album:
    """The pictures that go into a page.

    Args:
        wanted: the pictures of every part of the page, the most important first; parts take turns
            until there is no room.
    """

    def __init__(self, wanted: Sequence[Sequence[Grid]]) -> None:
        self._pictures: dict[Path, Picture] = {}
        room = MAX_BYTES
        turns = (grid for grid in chain.from_iterable(zip_longest(*wanted)) if grid is not None)
        for grid in turns:
            if len(self._pictures) == MAX_PICTURES:
                break
            read = None if grid.source in self._pictures else compressed(grid.source)
            if read is None:
                continue
            data, kind, width, height = read
            room -= len(data)
            if room < 0:
                break  # reading the rest would take long and show nothing
            text = base64.b64encode(data).decode("ascii")
            self._pictures[grid.source] = f"data:image/{kind};base64,{text}", width, height

    def gallery(self, grids: Sequence[Grid], *, wide: bool = False) -> Html:
        """Pictures side by side, each under its title, and the names of those left out.

        Args:
            grids: what to show.
            wide: whether each takes the whole width.
        """
        shown = [grid for grid in grids if grid.source in self._pictures]
        figures = [self._figure(grid, SHOWN_WIDE if wide else SHOWN) for grid in shown]
        parts = [element("div", *figures, class_="wide gallery" if wide else "gallery")]
        absent = [grid.title for grid in grids if grid.source not in self._pictures]
        if absent:
            few = f"Left out here, to keep the page light, or not readable: {len(absent)} pictures."
            names = element("ul", *(element("li", title) for title in absent))
            parts.append(element("details", element("summary", few), names, class_="left-out"))
        return joined(parts)

    def _figure(self, grid: Grid, shown: int) -> Html:
        """One picture, its pixels kept sharp where it is shown no smaller than it is."""
        uri, width, height = self._pictures[grid.source]
        attributes = {"width": str(width), "height": str(height), "decoding": "async"}
        sharp = "pixels" if width <= shown else False
        alt = f"Samples: {grid.title}"
        image = element("img", src=Html(uri), alt=alt, class_=sharp, **attributes)
        button = element("button", image, type="button", class_="zoom", title="Enlarge")
        return element("figure", button, element("figcaption", grid.title))


def compressed(file: Path) -> tuple[bytes, str, int, int] | None:
    """Read a picture, smaller where that pays.

    Returns:
        Its bytes, the name of their format, width and height; None if it is not a picture.
    """
    from PIL import Image  # only pages with pictures pay

    try:
        data = file.read_bytes()
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            image.load()
            if len(data) <= LARGE:
                return data, "png", *image.size
            image.thumbnail((MAX_SIDE, MAX_SIDE))
            smaller = io.BytesIO()
            image.convert("RGBA" if "A" in image.mode else "RGB").save(
                smaller, "WEBP", quality=82, method=4
            )
            return smaller.getvalue(), "webp", *image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
