"""Pictures within the page: made small, a limited number of them, the others named."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

from bench.compare.topics.pictures import Grid

MAX_PICTURES = 120
"""Pictures of a page, so that it stays light however many runs there are."""

MAX_BYTES = 6_000_000
"""Of all pictures of a page, before they are written as text, which adds a third."""

LARGE = 20_000
"""A file of more bytes is compressed."""

MAX_SIDE = 1200
"""Pixels; larger pictures are reduced."""


@dataclass(frozen=True)
class Picture:
    """A picture within the page.

    Attributes:
        uri: its content, as data: URI.
        width: in pixels.
        height: in pixels.
    """

    uri: str
    width: int
    height: int


def album(wanted: Sequence[Sequence[Grid]]) -> dict[Path, Picture]:
    """The pictures that go into a page, by their files.

    Args:
        wanted: the pictures of every part of the page, the most important first; parts take turns
            until there is no room.
    """
    made: dict[Path, Picture] = {}
    room = MAX_BYTES
    turns = (grid for grid in chain.from_iterable(zip_longest(*wanted)) if grid is not None)
    for grid in turns:
        if len(made) == MAX_PICTURES:
            break
        read = None if grid.source in made else compressed(grid.source)
        if read is None:
            continue
        data, kind, width, height = read
        room -= len(data)
        if room < 0:
            break  # reading the rest would take long and show nothing
        text = base64.b64encode(data).decode("ascii")
        made[grid.source] = Picture(f"data:image/{kind};base64,{text}", width, height)
    return made


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
