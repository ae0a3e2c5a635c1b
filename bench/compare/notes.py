"""What a reader has to know about a table: variants, collapse, few seeds, runs without result."""

from bench.compare.seeds import MIN_SEEDS
from bench.compare.statistics import WARNING, Comparison, Entry
from bench.compare.tables import on_cpu


def notes(comparison: Comparison) -> list[str]:
    """Sentences for below the tables."""
    few = [e for e in comparison.entries if e.finished and e.trained and len(e.seeds) < MIN_SEEDS]
    names = ", ".join(dict.fromkeys(comparison.label(entry) for entry in few))
    found = [f"{name} ran with {what}." for name, what in comparison.overrides.items()]
    for entry in comparison.entries:
        found += collapse_notes(comparison, entry)
    if few:
        found.append(
            f"Fewer than {MIN_SEEDS} seeds for {names}: the spread says little, no verdict."
        )
    if on_cpu(comparison):
        found.append(
            "Peak memory is in the CSV only: on a CPU it depends on what the process did before."
        )
    for entry in comparison.entries:
        run = f"{comparison.label(entry)} seed {entry.seeds[0]}"
        if entry.status == "failed":
            found.append(f"{run} failed and has no result: {entry.reason}.")
        elif entry.status == "unfinished":
            found.append(
                f"{run} is unfinished ({entry.reason}) and left out of every mean; "
                "its command resumes it."
            )
    return found


def collapse_notes(comparison: Comparison, entry: Entry) -> list[str]:
    """Which seeds show signs of collapse or copying, or did along the run; means keep them all."""
    course = entry.course
    if course is None:
        return []
    name = f"{comparison.label(entry)}, {entry.sampler}"
    before = {
        seed: f"at point {', '.join(at.split())} of {course.points}"
        for seed, at in course.warned_at.items()
    }
    warned = ", ".join(
        f"seed {seed} ({words}" + (f"; also {before[seed]})" if seed in before else ")")
        for seed, words in course.warnings.items()
    )
    recovered = ", ".join(
        f"seed {seed} {at}" for seed, at in before.items() if seed not in course.warnings
    )
    found = []
    if warned:
        found.append(
            f"{WARNING} {name}: signs of {' and '.join(course.signs)} at the last evaluation point "
            f"in {warned}. Such seeds stay in the means."
        )
    if recovered:
        found.append(f"{name}: signs of collapse at earlier evaluation points only in {recovered}.")
    return found
