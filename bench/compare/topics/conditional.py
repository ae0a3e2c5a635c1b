"""Class-conditional models beside unconditional ones, with which they are not compared."""

from bench.compare.cells import exact
from bench.compare.comparison import Comparison, Entry, by_kind, undisturbed
from bench.compare.topics.ranked import mean_fid, ranking

APART = "Class-conditional, and so not compared with these: {names}."


def apart_sentences(comparison: Comparison) -> list[str]:
    """A sentence that names the class-conditional models beside unconditional ones, if any."""
    _, conditional = by_kind(comparison)
    if conditional is None:
        return []
    fair = undisturbed(conditional)
    best: dict[tuple[str, str], Entry] = {}
    for entry in ranking(fair):
        best.setdefault(entry.key, entry)
    names = [
        f"{fair.marked(entry)} ({entry.sampler}), FID {exact(mean_fid(fair, entry))}"
        for entry in best.values()
    ]
    return [APART.format(names="; ".join(names))] if names else []
