"""How much a model minds its settings: learning rate, momentum, batch size, one at a time."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bench.compare.claims.declaration import Criterion
from bench.compare.claims.selection import Group, find_in, model_overrides
from bench.compare.claims.values import Seeds, at_equal, combined
from bench.compare.statistics import Comparison

GOOD = 1.5
"""A setting counts as good whose FID is at most so many times that of the default."""


def settings_spread(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Seeds | None:
    """Σ of − Σ to of how far settings move FID: root mean square of log(setting / default).

    Each setting is compared with the default at the same number of images.
    """
    found = [_moves(test, group, scope) for group in (*of, *to)]
    if not _alike(found):
        return None
    values = [{s: math.sqrt(float(np.mean(v**2))) for s, v in f.items()} for f in found]
    return combined(test, of, to, values)


def settings_share(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Seeds | None:
    """The same of the share of settings whose FID is near the default's at the same images."""
    found = [_moves(test, group, scope) for group in (*of, *to)]
    if not _alike(found):
        return None
    limit = math.log(GOOD)
    values = [{s: float(np.mean(v <= limit)) for s, v in f.items()} for f in found]
    return combined(test, of, to, values)


def _moves(test: Criterion, default: Group, scope: Sequence[Comparison]) -> dict[str, np.ndarray]:
    """log(FID of a setting / FID of the default) by seed, for every setting of a listed key."""
    model = default.members[0].run.model
    variants = {
        tuple(sorted(set(model_overrides(run))))
        for comparison in scope
        for run in comparison.runs
        if run.model == model
    }
    moves: list[dict[str, float]] = []
    for overrides in sorted(variants):
        keys = {override.partition("=")[0] for override in overrides}
        if len(keys) == 1 and any(key.endswith(name) for key in keys for name in test.settings):
            selection = replace(default.selection, models=(model,), overrides=overrides)
            group = find_in(selection, 0, scope)
            if group is not None and group.finished:
                ours, theirs = at_equal([group, default], "images")
                moves.append({s: math.log(ours[s] / theirs[s]) for s in ours if s in theirs})
    seeds = [s for s in (moves[0] if moves else ()) if all(s in of for of in moves)]
    found = {seed: np.array([of[seed] for of in moves]) for seed in seeds}
    return {seed: values for seed, values in found.items() if np.isfinite(values).all()}


def _alike(found: Sequence[dict[str, np.ndarray]]) -> bool:
    """Whether all sides have as many settings, and at least two."""
    sizes = {len(values) for f in found for values in f.values()}
    return len(sizes) == 1 and min(sizes) > 1 and all(found)
