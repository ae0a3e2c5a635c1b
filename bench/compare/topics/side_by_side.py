"""Samples side by side: real images, then one entry of each family."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from bench.compare.cells import exact
from bench.compare.comparison import DISTURBED, WARNING, Comparison, Entry, analysis, comparable
from bench.compare.topics.headline import families
from bench.compare.topics.pictures import common_seed, picture_of, shown_seed
from bench.compare.topics.ranked import has_collapsed, is_far, ranking

MOST = 5
"""Number of entries up to which models that belong to no family are shown next to families."""

REAL = "Real held-out samples"

WAITED = f"{DISTURBED} not compared: training waited for a core"


@dataclass(frozen=True)
class Exhibit:
    """One picture of samples next to others, with what is to be known of it.

    Attributes:
        heading: the family or, of a model without one, its name.
        name: the model with its variant, and its sampler; empty for real data.
        facts: FID and milliseconds per sample, as far as they were measured.
        fault: a mark and the reason why it cannot be recommended; empty if it can be.
        source: the picture in the run directory; None if there is none.
        tiled: whether it shows images in rows and columns, so that a part of it is readable.
    """

    heading: str
    name: str
    facts: tuple[str, ...]
    fault: str
    source: Path | None
    tiled: bool


@analysis
def side_by_side(
    comparison: Comparison, standing: Collection[tuple[str, str]] = ()
) -> tuple[Exhibit, ...]:
    """Real samples, then one entry of every family, in the order of the ranking.

    It is the one that stands for the family, else the best.

    Models that belong to no family stand for themselves where fewer than `MOST` families are
    known. Entries that cannot be compared, since training waited for a core, come last. Empty if
    there is no picture of a trained model.

    Args:
        comparison: runs under one protocol.
        standing: labels and samplers of entries that were chosen before to stand for families.
    """
    seed = common_seed([entry for entry in comparison.entries if entry.finished])
    made = [_exhibit(comparison, *each, seed) for each in _chosen(comparison, standing)]
    if not any(exhibit.source for exhibit in made):
        return ()
    real = [e for e in comparison.entries if e.finished and e.mean.get("nfe") == 0]
    return (*(_exhibit(comparison, REAL, entry, "", seed) for entry in real[:1]), *made)


def _chosen(
    comparison: Comparison, standing: Collection[tuple[str, str]]
) -> list[tuple[str, Entry, str]]:
    """Family or model, entry and fault of what is shown of trained models, the best first."""
    fair = comparable(comparison)
    found = [(entry, _fault(fair, entry)) for entry in ranking(fair)]
    found += [(entry, WAITED) for entry in ranking(comparison)]
    stand = [e for e, _ in found if (comparison.label(e), e.sampler) in standing]
    fixed = {families().get(entry.model) for entry in stand} - {None}
    best: dict[tuple[bool, str], tuple[Entry, str]] = {}
    for entry, fault in found:
        family = families().get(entry.model)
        if family in fixed and entry not in stand:
            continue
        best.setdefault((family is not None, family or entry.model), (entry, fault))
    room = MOST - sum(known for known, _ in best)
    shown: list[tuple[str, Entry, str]] = []
    for (known, family), (entry, fault) in best.items():
        room -= not known
        if known or room >= 0:
            heading = family[:1].upper() + family[1:] if known else comparison.label(entry)
            shown.append((heading, entry, fault))
    return shown


def _exhibit(
    comparison: Comparison, heading: str, entry: Entry, fault: str, shared: str
) -> Exhibit:
    runs = {(run.model, run.variant, run.seed): run for run in comparison.runs}
    run = runs[entry.model, entry.variant, shown_seed(entry, shared)]
    label = comparison.label(entry)
    name = entry.sampler if heading == label else f"{label}, {entry.sampler}"
    facts = []
    if entry.values(comparison.fid):
        facts.append(f"FID {exact(entry.mean[comparison.fid])}")
    if entry.values("latency_ms"):
        facts.append(f"{exact(entry.mean['latency_ms'])} ms per sample")
    return Exhibit(
        heading=heading,
        name=name if entry.trained else "",
        facts=tuple(facts),
        fault=fault,
        source=picture_of(run, entry.sampler),
        tiled=entry.protocol.get("image_shape", "").count("x") == 2,  # channels, height, width
    )


def _fault(comparison: Comparison, entry: Entry) -> str:
    """Why an entry cannot be recommended, or what is to be known of some of its seeds."""
    signs = f"{WARNING} signs of {' and '.join(entry.signs)}"
    if has_collapsed(entry):
        return signs
    if is_far(comparison, entry):
        return f"{WARNING} no sample near real data"
    if entry.warnings:
        return f"{signs} in {len(entry.warnings)} of {len(entry.seeds)} seeds"
    return ""
