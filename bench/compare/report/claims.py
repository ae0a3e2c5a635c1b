"""Verdicts as HTML: a badge, what it rests on, and links to the rows behind it."""

from collections.abc import Mapping, Sequence

from bench.compare.claims.page import BADGES, RULE, counted
from bench.compare.claims.selection import Member, is_trained
from bench.compare.claims.verdicts import VERDICTS, Finding, Judgement
from bench.compare.notation import p_value
from bench.compare.report.markup import Html, element, identifier, joined, prose
from bench.compare.statistics import Comparison

Anchors = Mapping[tuple[str, str], str]
"""Ids of rows of the page, by data set and by the name that a finding has for the row."""


def claims_html(judgements: Sequence[Judgement], anchors: Anchors) -> Html:
    """All verdicts, those first that were measured.

    Args:
        judgements: in the order of the claims.
        anchors: where the rows stand that findings name.
    """
    order = sorted(judgements, key=lambda j: VERDICTS.index(j.verdict))
    cards = [_card(judgement, anchors) for judgement in order]
    return joined(
        [
            element("p", counted(judgements), class_="lead"),
            _balance(judgements),
            element("div", *cards, class_="claims"),
            element("p", prose(RULE), class_="small"),
        ]
    )


def row_anchors(comparison: Comparison, ids: Sequence[str]) -> dict[tuple[str, str], str]:
    """Where the rows of a comparison stand, by the names that findings have for them.

    Args:
        comparison: the comparison.
        ids: of its entries' rows, in their order.
    """
    names: dict[tuple[str, str, str], str] = {}
    seen: set[tuple[str, str]] = set()
    for run in comparison.runs:
        if run.status.status == "finished" and (run.model, run.variant) not in seen:
            seen.add((run.model, run.variant))
            for sampler in run.last.texts("sampler"):
                member = Member(run, sampler, run.seed, not is_trained(run))
                names[run.model, run.variant, sampler] = member.name
    found: dict[tuple[str, str], str] = {}
    for entry, anchor in zip(comparison.entries, ids, strict=True):
        name = names.get((entry.model, entry.variant, entry.sampler))
        if name is not None:
            found.setdefault((comparison.dataset, name), anchor)
    return found


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


def _card(judgement: Judgement, anchors: Anchors) -> Html:
    claim, kind = judgement.claim, identifier(judgement.verdict)
    badge = element("span", f"{BADGES[judgement.verdict]} {judgement.verdict}", class_="badge")
    title = element("h3", badge, " ", claim.statement)
    about = f"{claim.name} · source {claim.source} · {judgement.sentence or 'no test'}"
    parts = [title, element("p", about, class_="small")]
    if judgement.findings:
        rows = [_finding(finding, anchors) for finding in judgement.findings]
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


def _finding(finding: Finding, anchors: Anchors) -> Html:
    """One test on one data set."""
    e = finding.estimate
    seeds = f"n = {e.n}, p = {p_value(finding.p)}".replace("p = <", "p <")
    links = [_row_link(name, finding.where, anchors) for name in finding.rows]
    between = [part for link in links for part in (", ", link)][1:]
    return element(
        "li",
        element("b", finding.says),
        f": {finding.test.says}. On {finding.where}: {e.text} ({seeds}). ",
        *(["Rows: ", *between] if between else []),
    )


def _row_link(name: str, where: str, anchors: Anchors) -> Html:
    """A link to a row; its name alone where the row is not on the page."""
    for dataset in where.split(", "):
        if (dataset, name) in anchors:
            return element("a", name, href=f"#{anchors[dataset, name]}")
    return element("span", name)
