"""How much a model minds its settings: learning rate, momentum, batch size, one at a time."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.compare.claims.declaration import Criterion
from bench.compare.claims.selection import Group, find_in, model_overrides
from bench.compare.claims.values import Seeds, at_equal, combined, where
from bench.compare.statistics import Comparison

GOOD = 1.5
"""A setting counts as good whose FID is at most so many times that of the default."""


Moves = tuple[tuple[str, ...], dict[str, np.ndarray]]
"""Names of the settings, and log(FID / default FID) of each by seed, infinite where it failed."""


def settings_spread(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Seeds | None:
    """Σ of − Σ to of how far settings move FID: root mean square of log(setting / default).

    Each setting is compared with the default at the same number of images.
    """
    found = [_moves(test, group, scope) for group in (*of, *to)]
    if not _alike(found):
        return None
    failed = sum(int(np.isinf(v).any()) for _, f in found for v in f.values())
    if failed:
        rows, places = where((*of, *to))
        return Seeds({}, rows, places, lacking=f"no ratio: a setting failed in {failed} seeds")
    values = [{s: math.sqrt(float(np.mean(v**2))) for s, v in f.items()} for _, f in found]
    return combined(test, of, to, values)


def settings_share(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Seeds | None:
    """The same of the share of settings whose FID is near the default's at the same images.

    A setting whose training failed is not near it.
    """
    found = [_moves(test, group, scope) for group in (*of, *to)]
    if not _alike(found):
        return None
    limit = math.log(GOOD)
    values = [{s: float(np.mean(v <= limit)) for s, v in f.items()} for _, f in found]
    return combined(test, of, to, values)


def _moves(test: Criterion, default: Group, scope: Sequence[Comparison]) -> Moves:
    """How every setting of a listed key moves FID."""
    model = default.members[0].run.model
    variants = {
        tuple(sorted(set(model_overrides(run))))
        for comparison in scope
        for run in comparison.runs
        if run.model == model
    }
    names: list[str] = []
    moves: list[dict[str, float]] = []
    for overrides in sorted(variants):
        keys = {override.partition("=")[0].rpartition(".")[2] for override in overrides}
        if len(keys) == 1 and keys <= set(test.settings):
            wanted = (" ".join(overrides),)
            selection = replace(default.selection, models=(model,), overrides=wanted)
            group = find_in(selection, 0, scope)
            if group is not None:
                names += keys
                moves.append(_move(group, default))
    seeds = [s for s in (moves[0] if moves else ()) if all(s in of for of in moves)]
    found = {seed: np.array([of[seed] for of in moves]) for seed in seeds}
    return tuple(names), {seed: v for seed, v in found.items() if not np.isnan(v).any()}


def _move(setting: Group, default: Group) -> dict[str, float]:
    """log(FID of a setting / FID of the default) by seed."""
    ours, theirs = at_equal([setting, default], "images")
    found = {s: _log_ratio(ours[s], theirs[s]) for s in ours if s in theirs}
    failed = [m.seed for m in setting.members if m.run.state == "failed"]
    return found | dict.fromkeys(failed, math.inf)


def _log_ratio(a: float, b: float) -> float:
    return math.log(a / b) if a > 0 and b > 0 else math.nan


def _alike(found: Sequence[Moves]) -> bool:
    """Whether all sides have the same settings as often, and at least two."""
    names = {tuple(sorted(settings)) for settings, _ in found}
    return len(names) == 1 and len(found[0][0]) > 1 and all(f for _, f in found)
