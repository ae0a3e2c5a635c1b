"""Runs that did not get their cores: which they are, and what does not rest on them."""

from collections.abc import Iterable, Sequence

from bench.compare.cells import exact
from bench.compare.comparison import DISTURBED, Comparison, left_out
from bench.compare.read import MOST_WAITING, Run

FEW = 5
"""Number of runs that a sentence names."""

REMEDY = "delete their directories and run them again while their cores are idle"

LEFT_OUT = (
    "Not compared, because training waited for a core for more than {most:.0%} of its seconds: "
    f"{{runs}}; {REMEDY}."
)
TIMED_NOTE = (
    f"{DISTURBED} {{model}}: training waited for a core in {{runs}}. A budget in seconds was not "
    "spent on training there: no recommendation, difference or verdict rests on these runs, which "
    f"are included in the means; {REMEDY}."
)
UNTIMED_NOTE = (
    f"{DISTURBED} {{model}}: training waited for a core in {{runs}}. Its seconds cannot be "
    "compared; scores at equal samples or operations can."
)

NOMINAL_NOTE = (
    f"{DISTURBED} {{model}}: training waited for a core in {{runs}}. Its nominal seconds and its "
    "scores do not depend on that; its speed of training does, and latencies measured then may."
)

UNEVEN = 1.25
"""Ratio of training speeds of the seeds of one model from which a note names them."""

UNEVEN_NOTE = (
    "{model}: its seeds trained at {low} to {high} samples/s. Something slowed some of them that "
    "waiting for a core does not show, such as other work on the same processor, and equal seconds "
    "were not equal training: compare runs that were made side by side on an idle machine."
)


def left_out_sentences(comparison: Comparison) -> list[str]:
    """A sentence that names the runs on which no conclusion rests; none if there are none."""
    runs = left_out(comparison)
    return [LEFT_OUT.format(most=MOST_WAITING, runs=named(runs))] if runs else []


def disturbed_notes(comparison: Comparison) -> list[str]:
    """A note for every model with runs that did not get their cores."""
    labels = {entry.key: comparison.label(entry) for entry in comparison.entries if entry.finished}
    return [
        _note(runs).format(
            model=labels.get(key, key[0]),
            runs=", ".join(f"seed {run.seed} for {run.waiting:.0%} of its seconds" for run in runs),
        )
        for key, runs in comparison.disturbed.items()
    ]


def _note(runs: Sequence[Run]) -> str:
    """What is said of runs of one model, which waited."""
    if any(run.timed for run in runs):
        return TIMED_NOTE
    return NOMINAL_NOTE if all(run.nominal for run in runs) else UNTIMED_NOTE


def uneven_notes(comparison: Comparison) -> list[str]:
    """A note for every model with a budget in seconds whose seeds trained at different speeds."""
    timed = {(run.model, run.variant) for run in comparison.runs if run.timed}
    found: dict[tuple[str, str], str] = {}
    for entry in comparison.entries:
        if not entry.finished or entry.key not in timed or entry.key in found:
            continue
        speeds = list(entry.values("train_images_per_second").values())
        if min(speeds, default=0) > 0 and max(speeds) >= UNEVEN * min(speeds):
            found[entry.key] = UNEVEN_NOTE.format(
                model=comparison.label(entry), low=exact(min(speeds)), high=exact(max(speeds))
            )
    return list(found.values())


def named(runs: Iterable[Run]) -> str:
    """Runs with the share of waiting, such as "dcgan seed 0 (35 %)"; `FEW` of them."""
    names = [f"{run.model} seed {run.seed} ({run.waiting:.0%})" for run in runs]
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more
