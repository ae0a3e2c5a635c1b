"""HTML elements whose text is escaped unless it is markup already."""

import html
import json
import re
from collections.abc import Iterable
from typing import Any

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
