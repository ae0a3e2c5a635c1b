"""Verdicts as HTML: a badge, what it rests on, and links to the rows and runs behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.compare.cells import p_value
from bench.compare.claims.selection import Member
from bench.compare.claims.verdicts import VERDICTS, Finding, Judgement
from bench.compare.comparison import Comparison
from bench.compare.read import Run
from bench.compare.writers.claims import BADGES, NEEDS, RULE, counted
from bench.compare.writers.html.section import Part
from bench.compare.writers.html.tables import Html, element, identifier, joined, prose


@dataclass(frozen=True)
class Place:
    """Where a row stands, and what it was made from.

    Attributes:
        row: its id; empty where it has none.
        runs: the runs behind it, one for each seed.
    """

    row: str
    runs: tuple[Run, ...]


Places = Mapping[str, Mapping[str, Place]]
"""Rows by the title of their part and by the name that findings have for them."""


def places_of(parts: Sequence[Part]) -> dict[str, dict[str, Place]]:
    """The rows of all parts, by the parts' titles."""
    return {part.title: _by_name(part.comparison, part.row_ids) for part in parts}


def place(name: str, title: str, places: Places) -> Place | None:
    """The row of this name; of runs without result no sampler is known."""
    rows = places.get(title, {})
    return rows.get(name) or rows.get(f"{name.rpartition(', ')[0]}, ")


def _by_name(comparison: Comparison, ids: Sequence[str]) -> dict[str, Place]:
    """The rows of a comparison; of several of one name that of most runs, as claims take it."""
    anchors: dict[tuple[str, str, str], str] = {}
    for entry, anchor in zip(comparison.entries, ids, strict=True):
        anchors.setdefault((entry.model, entry.variant, entry.sampler), anchor)
    found: dict[str, tuple[tuple[int, str], Place]] = {}
    for (model, variant, sampler), runs in _members(comparison).items():
        name = _name(runs, sampler)
        rank = (len(runs), variant)
        if name not in found or rank > found[name][0]:
            row = anchors.get((model, variant, sampler)) or anchors.get((model, variant, ""), "")
            found[name] = rank, Place(row, tuple(runs))
    return {name: at for name, (_, at) in found.items()}


def _members(comparison: Comparison) -> dict[tuple[str, str, str], list[Run]]:
    """Runs by model, variant and sampler; one without result counts with every sampler."""
    by_variant: dict[tuple[str, str], list[Run]] = {}
    for run in comparison.runs:
        by_variant.setdefault((run.model, run.variant), []).append(run)
    found = {}
    for (model, variant), runs in by_variant.items():
        names = {run.path: run.last.texts("sampler") if len(run.last) else () for run in runs}
        for sampler in dict.fromkeys(name for of in names.values() for name in of) or [""]:
            found[model, variant, sampler] = [
                run for run in runs if not names[run.path] or sampler in names[run.path]
            ]
    return found


def _name(runs: Sequence[Run], sampler: str) -> str:
    """What a finding calls the row."""
    first = next((run for run in runs if run.state == "finished"), runs[0])
    return Member(first, sampler, first.seed, broadcast=False).name


RunIds = Mapping[Path, str]
"""Ids of the page's list of runs, by run directory."""


def claims_html(judgements: Sequence[Judgement], places: Places, run_ids: RunIds) -> Html:
    """All verdicts, those first that were measured.

    Args:
        judgements: in the order of the claims.
        places: where the rows stand that findings name.
        run_ids: where the runs stand.
    """
    order = sorted(judgements, key=lambda j: VERDICTS.index(j.verdict))
    cards = [_card(judgement, places, run_ids) for judgement in order]
    return joined(
        [
            element("p", counted(judgements), class_="lead"),
            _balance(judgements),
            element("div", *cards, class_="claims"),
            element("p", prose(RULE), class_="small"),
        ]
    )


def _balance(judgements: Sequence[Judgement]) -> Html:
    """A bar of how many claims came to which verdict; its parts choose what is shown."""
    parts = []
    for verdict in VERDICTS:
        count = sum(judgement.verdict == verdict for judgement in judgements)
        if count:
            text = f"{BADGES[verdict]} {count} {verdict}"
            attributes = {"data_verdict": identifier(verdict), "style": f"flex-grow:{count}"}
            parts.append(element("button", text, type="button", aria_pressed="false", **attributes))
    return element("div", *parts, class_="balance", role="group", aria_label="Show only claims")


def _card(judgement: Judgement, places: Places, run_ids: RunIds) -> Html:
    claim, kind = judgement.claim, identifier(judgement.verdict)
    badge = element("span", f"{BADGES[judgement.verdict]} {judgement.verdict}", class_="badge")
    title = element("h3", badge, " ", claim.statement)
    about = (claim.name, f"source {claim.source}", judgement.sentence or "no test")
    parts = [title, element("p", " · ".join((*about, NEEDS[claim.needs])), class_="small")]
    if judgement.findings:
        rows = [_finding(finding, places, run_ids) for finding in judgement.findings]
        parts.append(
            element("details", element("summary", "What it rests on"), element("ul", *rows))
        )
    if claim.note:
        parts.append(element("p", prose(claim.note), class_="small"))
    if judgement.missing:
        missing = "; ".join(test.says for test in judgement.missing)
        summary = element("summary", "What is not measured, and how it would be")
        command = element("pre", element("code", claim.command), tabindex="0")
        parts.append(element("details", summary, element("p", f"{missing}."), command))
    anchor = identifier("claim", claim.name)
    return element("article", *parts, class_="claim", id=anchor, data_verdict=kind)


def _finding(finding: Finding, places: Places, run_ids: RunIds) -> Html:
    """One test on one data set, or on several together."""
    e = finding.estimate
    seeds = f"n = {e.size}, p = {p_value(finding.p)}".replace("p = <", "p <")
    aside = "" if finding.test.decides else ", aside"
    rows = [_row(name, finding.places, places, run_ids) for name in finding.rows]
    return element(
        "li",
        element("b", finding.says + aside),
        f": {finding.test.says}. On {finding.where}: {e.text} ({seeds}). ",
        *(["Rows: ", _listed(rows, "; "), "."] if rows else []),
    )


def _row(name: str, titles: Sequence[str], places: Places, run_ids: RunIds) -> Html:
    """A link to a row and to its runs, wherever it is; its name alone where it is nowhere."""
    found = [(title, at) for title in titles if (at := place(name, title, places)) is not None]
    if not found:
        return element("span", name)
    if len(found) == 1:
        return joined([_link(name, found[0][1].row), _seeds(found[0][1], run_ids)])
    links = [joined([_link(title, at.row), _seeds(at, run_ids)]) for title, at in found]
    return joined([name, " on ", _listed(links, ", ")])


def _seeds(at: Place, run_ids: RunIds) -> Html:
    """Links to the runs behind a row; a run without result says so."""
    links = []
    for run in at.runs:
        state = run.state
        text = run.seed if state == "finished" else f"{run.seed} {state}"
        links.append(_link(text, run_ids[run.path]))
    return joined([f" (seed{'s' * (len(links) != 1)} ", _listed(links, ", "), ")"])


def _link(text: str, anchor: str) -> Html:
    return element("a", text, href=f"#{anchor}") if anchor else element("span", text)


def _listed(parts: Sequence[Html], separator: str) -> Html:
    """Several parts with a separator between them."""
    return joined([word for part in parts for word in (separator, part)][1:])
