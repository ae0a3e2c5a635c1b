"""The page as a whole: answer, verdicts, comparisons, protocol, provenance, in one file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from bench.compare.cells import Cell, Table, natural
from bench.compare.claims.verdicts import Judgement
from bench.compare.writers.html.claims import claims_html, places_of
from bench.compare.writers.html.pictures import Album
from bench.compare.writers.html.section import Part, numbered, part_html
from bench.compare.writers.html.tables import Html, element, joined, prose, table_html
from bench.compare.writers.markdown import introduction

TITLE = "GAN or diffusion?"

POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
"""What browsers let the page do: nothing that needs a network."""

SCRIPTS = ("theme.js", "tables.js", "figures.js", "page.js")
"""The page's scripts, beside this module, in order."""

PROTOCOL_SENTENCES = (
    "All models of one table were trained by one trainer under one budget and scored by one "
    "evaluator: rows that differ in any of these fields are never put into one table.",
    "Scores are those of the last evaluation point, never of the best one. Evaluation does not "
    "count as training time. A run that failed stays in the tables as failed.",
)


@dataclass(frozen=True)
class Report:
    """All that the page shows.

    Attributes:
        headline: the answer, a paragraph each, the most important first.
        parts: the comparisons.
        judgements: verdicts on claims; none where no claim was measured.
        command: the command line that makes the page.
    """

    headline: Sequence[str]
    parts: Sequence[Part]
    judgements: Sequence[Judgement]
    command: str


def document(report: Report) -> str:
    """The page as HTML.

    Raises:
        ValueError: plotly is not installed.
    """
    report = replace(report, parts=numbered(report.parts))
    album = Album([[*part.grids, *part.trajectories] for part in report.parts])
    chapters = _chapters(report, album)
    first = "answer" if report.headline else "results"
    main = element("main", *chapters.values(), id="results")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", TITLE),
        element("style", _asset("report.css")),
    )
    scripts = [element("script", _asset(name)) for name in SCRIPTS]
    body = element(
        "body",
        element("a", f"Skip to the {first}", href=f"#{first}", class_="skip"),
        _header(report),
        element("div", _contents(chapters), main, class_="page"),
        element("dialog", id="enlarged", aria_label="Enlarged picture"),
        element("script", plotly_source(), type="text/plain", id="plotly"),
        *scripts,
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def plotly_source() -> Html:
    """plotly.js as the installed package has it; nothing of the package is imported.

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
    return Html(file.read_text(encoding="utf-8").replace("</script", "<\\/script"))


def _asset(name: str) -> Html:
    return Html(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def _header(report: Report) -> Html:
    runs = len(_runs(report))
    names = list(dict.fromkeys(part.comparison.dataset for part in report.parts))
    text = f"{runs} run{'s' * (runs != 1)} on {', '.join(names)}, compared over seeds"
    if len(names) == len(report.parts):
        under = "one protocol" if len(names) == 1 else "one protocol for each data set"
    else:
        under = f"{len(report.parts)} protocols, one for each comparison"
    text = f"{text} under {under}"
    toggle = element("button", "Dark", type="button", id="theme")
    return element(
        "header",
        element("div", element("h1", TITLE), element("p", text, class_="subtitle")),
        toggle,
        class_="top",
    )


def _chapters(report: Report, album: Album) -> dict[tuple[str, str], Html]:
    """The chapters by id and title for the table of contents."""
    chapters: dict[tuple[str, str], Html] = {}
    if report.headline:
        titles = [part.title for part in report.parts]
        chapters["answer", "The answer"] = _answer(report.headline, titles)
    if report.judgements:
        run_ids = {path: f"run-{k}" for k, path in enumerate(_runs(report), start=1)}
        verdicts = claims_html(report.judgements, places_of(report.parts), run_ids)
        chapters["claims", "Claims"] = _chapter("claims", "Claims, put to the test", verdicts)
    for part in report.parts:
        chapters[part.name, part.title] = part_html(part, album)
    chapters["protocol", "Protocol"] = _chapter("protocol", "Protocol", _protocol(report.parts))
    chapters["provenance", "Provenance"] = _chapter("provenance", "Provenance", _made_by(report))
    return chapters


def _chapter(name: str, title: str, content: Html) -> Html:
    return element("section", element("h2", title), content, id=name)


def _answer(headline: Sequence[str], titles: Sequence[str]) -> Html:
    first, *others = [_named(text, titles) for text in headline]
    paragraphs = [element("p", first, class_="lead"), *(element("p", text) for text in others)]
    return element("section", element("h2", "The answer"), *paragraphs, id="answer")


def _named(text: str, titles: Sequence[str]) -> Html:
    """A paragraph that begins with "On", its title in bold."""
    for title in sorted(titles, key=len, reverse=True):
        if text.startswith(f"On {title}, "):
            return joined(["On ", element("strong", title), text[len(f"On {title}") :]])
    return joined([text])


def _runs(report: Report) -> dict[Path, str]:
    """Status by directory of every run, each once however many parts show it."""
    return {run.path: run.state for part in report.parts for run in part.comparison.runs}


def _contents(chapters: dict[tuple[str, str], Html]) -> Html:
    links = [element("li", element("a", title, href=f"#{name}")) for name, title in chapters]
    summary = element("summary", "Contents")
    return element("nav", element("details", summary, element("ul", *links), open=True))


def _protocol(parts: Sequence[Part]) -> Html:
    """The fields on which the rows of each comparison agree, comparisons side by side."""
    tables = [
        (part.title, block)
        for part in parts
        for topic in part.topics
        if topic.heading == "Protocol"
        for block in topic.blocks
        if isinstance(block, Table)
    ]
    fields = [row[0] for row in tables[0][1].rows] if tables else []
    rows = [(field, *(table.rows[k][1] for _, table in tables)) for k, field in enumerate(fields)]
    headings = ("field", *(title for title, _ in tables))
    joint = Table(headings, tuple(rows), labels=len(headings))
    words = [element("p", text, class_="prose") for text in PROTOCOL_SENTENCES]
    reading = introduction([part.comparison for part in parts])
    return joined(
        [
            *words,
            element("h3", "How to read the tables"),
            element("p", prose(reading), class_="prose"),
            table_html(joint, "Protocol"),
        ]
    )


def _made_by(report: Report) -> Html:
    """Commits, command lines, and every run with its state."""
    comparisons = [part.comparison for part in report.parts]
    commits = {commit for c in comparisons for entry in c.entries for commit in entry.commits}
    commands = sorted({line for c in comparisons for line in c.commands}, key=natural)
    code = element("pre", element("code", "\n".join((*commands, report.command))), tabindex="0")
    rows = tuple((Cell(str(path)), Cell(status)) for path, status in _runs(report).items())
    table = Table(("run directory", "status"), rows, labels=2)
    ids = [f"run-{k}" for k in range(1, len(rows) + 1)]
    shown = table_html(table, "Runs", ids=ids)
    listed = element("details", element("summary", f"{len(rows)} runs"), shown)
    return joined(
        [
            element("p", f"Commit of the runs: {', '.join(sorted(commits)) or 'not recorded'}."),
            element("p", "Command lines of the runs and of this page:"),
            code,
            listed,
        ]
    )
