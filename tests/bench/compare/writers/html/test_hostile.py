"""Runs whose every text is hostile → a page that has no element or attribute but its own."""

import json
import re
from functools import partial
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image
from synthetic_runs import PROTOCOL, costs, scores, write_run

from bench.compare.cli import main
from bench.compare.writers.html.plotly import Figure, View
from bench.compare.writers.html.section import identifier
from bench.compare.writers.html.templates import environment, prose, render
from bench.runs.directory import Status

TAGS = "<script>alert(1)<img src=x onerror=alert(1)>"
NAME = "\"'>" + TAGS + "&amp;<b onclick='x'>"
"""Ends attributes and begins elements; a file may be called so, having no "/" in it."""

TEXT = f"{NAME}</script><!--</style></p>{TAGS}"
"""Ends scripts and opens a comment as well."""

ALLOWED = {
    "a": {"class", "href"},
    "article": {"class", "data-verdict", "id"},
    "b": set(),
    "body": set(),
    "button": {
        "aria-label",
        "aria-pressed",
        "class",
        "data-place",
        "data-said",
        "data-verdict",
        "id",
        "style",
        "tabindex",
        "title",
        "type",
    },
    "code": set(),
    "details": {"class", "id", "open"},
    "dialog": {"aria-label", "id"},
    "div": {
        "aria-atomic",
        "aria-label",
        "aria-live",
        "class",
        "data-choice",
        "hidden",
        "role",
        "style",
        "tabindex",
    },
    "figcaption": set(),
    "figure": {"class", "id"},
    "h1": set(),
    "h2": set(),
    "h3": set(),
    "h4": set(),
    "head": set(),
    "header": {"class"},
    "html": {"lang"},
    "img": {"alt", "class", "data-same", "decoding", "height", "id", "src", "width"},
    "input": {"aria-label", "id", "min", "placeholder", "step", "type"},
    "label": {"class", "for"},
    "li": {"class"},
    "main": {"id"},
    "meta": {"charset", "content", "http-equiv", "name"},
    "nav": set(),
    "output": {"for"},
    "p": {"aria-live", "class"},
    "pre": {"tabindex"},
    "script": {"id", "type"},
    "section": {"id"},
    "select": {"autocomplete"},
    "span": {"class", "hidden"},
    "strong": set(),
    "style": set(),
    "summary": set(),
    "table": {"class", "role", "style"},
    "tbody": set(),
    "td": {"class", "data-key"},
    "th": {"aria-sort", "class", "data-first", "data-key", "scope"},
    "thead": set(),
    "title": set(),
    "tr": {"id"},
    "ul": {"aria-label", "class"},
    "wbr": set(),
}
"""Attributes of the page's elements; any other is foreign."""

VOID = {"img", "input", "meta", "wbr"}


class Page(HTMLParser):
    """What a page holds, and what is wrong with it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.scripts: dict[str, list[str]] = {}
        self.text = ""
        self._open: list[str] = []
        self._type = ""
        self.feed(text)
        self.close()
        self.wrong += [f"<{name}> is not closed" for name in self._open]

    def handle_starttag(self, tag, attrs):
        foreign = {key for key, _ in attrs} - ALLOWED.get(tag, set())
        if tag not in ALLOWED or foreign:
            self.wrong.append(f"<{tag}> {foreign}")
        given = {key: value or "" for key, value in attrs}
        self.ids += [given["id"]] if given.get("id") else []
        self.links += [given["href"]] if tag == "a" else []
        self.sources += [given["src"]] if "src" in given else []
        if tag == "script":
            self._type = given.get("type", "")
            self.scripts.setdefault(self._type, []).append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.wrong.append(f"</{tag}> closes something else")

    def handle_data(self, data):
        if self._open[-1:] == ["script"]:
            self.scripts[self._type][-1] += data
        elif self._open[-1:] != ["style"]:
            self.text += data

    def handle_comment(self, data):
        self.wrong.append(f"a comment: {data[:80]}")


def hostile_runs(folder: Path) -> Path:
    """Runs of two data sets, called as badly as names can be, and a failed one."""
    make_run = partial(write_run, folder, protocol=PROTOCOL | {"budget": f"seconds=120,{TEXT}"})
    for dataset in (f"my_{NAME}", f"my-{NAME}", "plain"):
        for seed in range(3):
            for checkpoint, variant in product((1, 2), (NAME, f"{NAME}2")):
                spent = {"train_seconds": 60.0 * checkpoint, "images": 1000 * checkpoint}
                row = scores(9.0 / checkpoint + seed) | costs(1, 2.0) | spent
                row |= {"overrides": f"model.a.b={TEXT}{variant}", "warning": TEXT, "commit": TEXT}
                path = make_run(
                    NAME,
                    seed,
                    {f"{NAME}-1": row, f"{NAME}-2": row | {"nfe": 2, "fid_domain": 3.0}},
                    dataset=dataset,
                    variant=variant,
                    checkpoint=checkpoint,
                    checkpoints=2,
                    status=Status("finished", step=9, command=TEXT),
                )
                leave_curves_and_pictures(path)
            for model in ("dcgan_small", "ddpm_small"):  # of which claims speak
                make_run(model, seed, {NAME: scores(5.0) | costs(1, 1.0)}, dataset=dataset)
        failed = Status("failed", TEXT, step=7, phase=TEXT, command=TEXT)
        make_run(f"{NAME}3", 0, {}, dataset=dataset, status=failed)
    return folder / "runs"


def leave_curves_and_pictures(run: Path) -> None:
    quoted = TEXT.replace('"', '""')
    lines = [f'"{quoted}",{x},{x},0.1,3' for x in (0.1, 0.5, 0.9)]
    header = "curve,x,mean,standard_error,samples"
    (run / "curves.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    (run / "samples").mkdir(exist_ok=True)
    pixels = np.zeros((8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(run / "samples" / f"checkpoint=2_{NAME}-2.png")


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Page:
    folder = tmp_path_factory.mktemp("hostile")
    out = folder / "out"
    assert main([str(hostile_runs(folder)), "--out", str(out)]) == 0
    return Page((out / "report" / "index.html").read_text(encoding="utf-8"))


def test_every_element_and_attribute_is_the_pages_own(page):
    assert page.wrong == []
    assert all(source.startswith("data:image/") for source in page.sources)
    assert len(page.sources) == 6  # of one sampler, of three data sets and two variants
    assert page.text.count("signs of") >= 3  # below the samples side by side


def test_names_are_shown_as_they_are(page):
    words = page.text.replace("\n", " ")
    for text in (
        NAME,
        f"my_{NAME}",
        f"{NAME}-2",
        TEXT,
        f"Rows: dcgan_small, {NAME} (seeds 0, 1, 2)",
    ):
        assert text in words


def test_ids_are_unique_and_links_lead_to_them(page):
    assert len(set(page.ids)) == len(page.ids)
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)


def test_no_name_is_in_a_script_that_runs(page):
    assert len(page.scripts[""]) == 5
    assert not any("alert(1)" in text for text in page.scripts[""])
    assert set(page.scripts) == {"", "text/plain", "application/json"}


def test_plotly_is_given_no_markup_of_a_runs_text(page):
    specs = [spec for spec in json_of(page) if "views" in spec]
    texts = [text for spec in specs for text in strings(spec)]
    titles = {v["layout"]["yaxis"].get("title", {}).get("text") for s in specs for v in s["views"]}
    assert any(title and "alert(1)" in title for title in titles)  # that of the curve
    assert {tag for text in texts for tag in re.findall(r"</?\w+[^>]*>", text)} <= {
        "<b>", "</b>", "<br>", "<extra>", "</extra>",
    }  # fmt: skip


def test_the_map_says_names_as_they_are_and_ends_no_script(page):
    (data,) = (found for found in json_of(page) if "groups" in found)
    assert any(f"(dcgan_small, {NAME})" in text for text in data["said"])
    titles = {panel["title"] for panels in data["groups"] for panel in panels}
    assert any(title.startswith(f"my_{NAME}") for title in titles)
    assert len(titles) == 3
    assert len(data["groups"]) == 1  # the plain models are the only ones of their families
    in_page = next(text for text in page.scripts["application/json"] if '"groups"' in text)
    assert not set(in_page) & set("<>&")


def json_of(page) -> list[dict]:
    """The data of figures, and of the map."""
    return [json.loads(text) for text in page.scripts["application/json"]]


def strings(value) -> list[str]:
    """All texts of a specification."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [text for item in value for text in strings(item)] if isinstance(value, list) else []


def figure_html(value) -> str:
    """A figure whose data are the value."""
    figure = Figure("title", "reading", [View("view", [value], {})])
    return str(environment().get_template("section.html.jinja").module.figure(figure, "id"))


@pytest.mark.parametrize("text", [NAME, TEXT, "]]>", "a\u2028b\u2029c", "\\</script>"])
def test_data_comes_out_as_it_went_in_and_ends_no_script(text):
    value = {"a": [text, 1.5, None], text: True}
    opening, closing = '<script type="application/json">', "</script>"
    body = figure_html(value).partition(opening)[2].partition(closing)[0]
    assert not set(body) & set("<>&\u2028\u2029")
    assert json.loads(body)["views"][0]["data"] == [value]


def test_numbers_that_json_does_not_have_are_refused():
    with pytest.raises(ValueError, match="JSON"):
        figure_html({"x": float("nan")})


def test_a_value_that_the_page_lacks_is_an_error_and_no_gap():
    with pytest.raises(UndefinedError, match="main"):
        render("page.html.jinja")


def test_marks_of_a_sentence_make_no_other_element():
    made = prose(f"`{NAME}` and **{NAME}**")
    assert set(re.findall(r"<[^>]*>", made)) == {"<code>", "</code>", "<strong>", "</strong>"}


@pytest.mark.parametrize(("words", "made"), [(("data", "a b"), "data-a-b"), (("é",), "x")])
def test_identifiers(words, made):
    assert identifier(*words) == made
