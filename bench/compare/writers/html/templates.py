"""The page's jinja2 templates, with escaping, and their filters."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from bench.compare.cells import NOTHING
from bench.compare.writers.html.section import identifier

FOLDER = Path(__file__).parent
"""Folder of templates, styles and scripts."""

KINDS = {NOTHING: "nothing", "failed": "state", "unfinished": "state"}
"""CSS classes of cells without a value, by text."""

SPREAD = re.compile(r"(\S+)( [±[].*)", re.DOTALL)
"""A cell's value, and its spread or interval."""


def render(name: str, **values: object) -> str:
    """Render a template.

    Raises:
        ValueError: plotly is not installed, or a figure has a number that is not finite.
        jinja2.UndefinedError: the template uses an undefined value.
    """
    return environment().get_template(name).render(values)


@cache
def environment() -> Environment:
    """The jinja2 environment: it escapes all text and refuses undefined values."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    made.globals.update(asset=asset, plotly=plotly, KINDS=KINDS)
    made.filters.update(
        prose=prose, breakable=breakable, with_spread=with_spread, identifier=identifier
    )
    return made


def asset(name: str) -> Markup:
    """A style sheet or script of the page, not escaped."""
    return Markup((FOLDER / name).read_text(encoding="utf-8"))


def plotly() -> Markup:
    """plotly.js of the installed package, which is not imported.

    Raises:
        ValueError: it is not installed.
    """
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise ValueError(
            "the report needs plotly: install it with pip install plotly, or leave the report out "
            "with --no-report"
        )
    file = Path(spec.origin).with_name("package_data") / "plotly.min.js"
    return Markup(file.read_text(encoding="utf-8").replace("</script", "<\\/script"))


def prose(text: str) -> Markup:
    """Text with `code` and **bold** converted from Markdown."""
    shown = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", shown))


def breakable(text: str) -> Markup:
    """A name that may be broken after underscores, for narrow columns."""
    return Markup("_<wbr>").join(text.split("_"))


def with_spread(text: str) -> Markup:
    """A cell's text, with its spread or interval in a CSS class."""
    parts = SPREAD.fullmatch(text)
    if parts is None:
        return escape(text)
    value, spread = map(escape, parts.groups())
    return Markup(f'{value}<span class="spread">{spread}</span>')
