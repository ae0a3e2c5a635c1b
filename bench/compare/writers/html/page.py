"""The report as one HTML file: answer, comparisons, verdicts, protocol, provenance."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.compare.cells import Cell, Table
from bench.compare.claims.verdicts import Judgement
from bench.compare.map.grid import Map
from bench.compare.writers.html.claims import verdicts_of
from bench.compare.writers.html.live import PLACE
from bench.compare.writers.html.map import atlas
from bench.compare.writers.html.pictures import album
from bench.compare.writers.html.section import Part, numbered
from bench.compare.writers.markdown import introduction, origins


def document(
    parts: Sequence[Part],
    judgements: Sequence[Judgement],
    command: str,
    *,
    watched: bool = False,
    maps: Sequence[Map] = (),
    map_commands: Sequence[str] = (),
) -> str:
    """The page as HTML.

    Args:
        parts: the comparisons; the page begins with the answer of the one that leads, else of the
            first one that has any.
        judgements: verdicts on all claims that are declared; empty if no claim was measured.
        command: the command line that makes the page.
        watched: whether it is rewritten while runs go on; it has a place for `live_part` then,
            which is marked by `PLACE`, and may be without comparisons.
        maps: who is ahead where, one for each group of models; empty without a map.
        map_commands: command lines that make a cell of the map again.

    Raises:
        ValueError: plotly is not installed.
    """
    from markupsafe import Markup  # slow to import

    from bench.compare.writers.html.templates import render  # slow to import

    parts = numbered(parts)
    comparisons = [part.comparison for part in parts]
    leading = [part for part in parts if part.leads]
    answered = leading or [part for part in parts if part.headline]
    states = {run.path: run.state for c in comparisons for run in c.runs}
    run_ids = {path: f"run-{k}" for k, path in enumerate(states, start=1)}
    commits, commands = origins(comparisons)
    return render(
        "page.html.jinja",
        subtitle=_subtitle(parts, len(states)),
        main=answered[0] if answered else None,
        others=answered[1:],
        verdicts=verdicts_of(judgements, parts, run_ids) if judgements else None,
        parts=parts,
        album=album(
            [[*part.grids, *part.trajectories] for part in parts],
            {place: file for part in parts for place, file in part.held.items()},
        ),
        introduction=introduction(comparisons),
        protocol=_protocol(parts),
        commits=commits,
        commands=[*commands, command],
        runs=_run_table(states),
        run_ids=list(run_ids.values()),
        atlas=atlas(maps, map_commands),
        place=Markup(PLACE) if watched else None,
    )


def _subtitle(parts: Sequence[Part], runs: int) -> str:
    """Numbers of runs, data sets and protocols."""
    if not parts:
        return "No run has a result yet"
    names = list(dict.fromkeys(part.comparison.dataset for part in parts))
    if len(names) == sum(not part.comparison.kind for part in parts):
        under = "one protocol" if len(names) == 1 else "one protocol for each data set"
    else:
        under = f"{len(parts)} protocols, one for each comparison"
    counted = f"{runs} run{'s' * (runs != 1)}"
    return f"{counted} on {', '.join(names)}, compared over seeds under {under}"


def _protocol(parts: Sequence[Part]) -> Table:
    """The protocol fields, one column per comparison."""
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
    return Table(headings, tuple(rows), labels=len(headings))


def _run_table(states: Mapping[Path, str]) -> Table:
    """Every run directory with its status."""
    rows = tuple((Cell(str(path)), Cell(state)) for path, state in states.items())
    return Table(("run directory", "status"), rows, labels=2)
