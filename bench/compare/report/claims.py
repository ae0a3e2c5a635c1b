"""Verdicts as HTML: a badge, what it rests on, and links to the rows and runs behind it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.compare.claims.page import BADGES, NEEDS, RULE, counted
from bench.compare.claims.verdicts import VERDICTS, Finding, Judgement
from bench.compare.notation import p_value
from bench.compare.report.markup import Html, element, identifier, joined, prose
from bench.compare.report.places import Place, Places, place

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
