"""Pictures embedded in the page: compressed, and limited in number and size."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path
from types import MappingProxyType

from bench.compare.topics.pictures import Grid

MAX_PICTURES = 120
"""Maximum number of pictures of a page."""

MAX_BYTES = 6_000_000
"""Maximum size of all pictures of a page, before base64, which adds a third."""

LARGE = 20_000
"""File size in bytes from which a picture is compressed."""

MAX_SIDE = 1200
"""Maximum side of a compressed picture, in pixels."""


@dataclass(frozen=True)
class Picture:
    """An embedded picture.

    Attributes:
        uri: its content, as data: URI.
        width: in pixels.
        height: in pixels.
        id: HTML id of the place that holds the content, if other places show it as well; empty if
            there is no such place.
    """

    uri: str
    width: int
    height: int
    id: str = ""

    @property
    def corner(self) -> tuple[float, float]:
        """Width and height of a corner of four columns and rows, of eight by eight images.

        Of fewer rows, which are wider than high, up to half of the width is the height.
        """
        return self.width / 2, min(self.height, max(self.width, self.height) / 2)


def album(
    wanted: Sequence[Sequence[Grid]], held: Mapping[str, Path] = MappingProxyType({})
) -> dict[Path, Picture]:
    """The pictures that are embedded, by file.

    Args:
        wanted: the pictures of every part of the page, the most important first; parts alternate
            until a limit is reached.
        held: pictures that come before all others, by the HTML id of the place that holds them;
            of places with one picture the first holds it.
    """
    made: dict[Path, Picture] = {}
    room = MAX_BYTES
    turns = (grid for grid in chain.from_iterable(zip_longest(*wanted)) if grid is not None)
    for place, source in (*held.items(), *(("", grid.source) for grid in turns)):
        if len(made) == MAX_PICTURES:
            break
        read = None if source in made else compressed(source)
        if read is None:
            continue
        data, kind, width, height = read
        room -= len(data)
        if room < 0:
            break  # do not read the rest
        made[source] = replace(_as_uri(data, kind, width, height), id=place)
    return made


def embedded(file: Path) -> Picture | None:
    """One picture; None if it is not a PNG."""
    read = compressed(file)
    return None if read is None else _as_uri(*read)


def _as_uri(data: bytes, kind: str, width: int, height: int) -> Picture:
    text = base64.b64encode(data).decode("ascii")
    return Picture(f"data:image/{kind};base64,{text}", width, height)


def compressed(file: Path) -> tuple[bytes, str, int, int] | None:
    """Read a PNG, compressed to WebP if it is large.

    Returns:
        Bytes, name of the format, width and height; None if it is not a PNG.
    """
    from PIL import Image  # slow to import

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
