"""Kinds of tests over grids of settings: sensitivity, spread and stability of training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bench.compare.claims.measured import Counts, Seeds, Sides, at_equal, differences, ratios
from bench.compare.claims.selection import Group, Member, by_seed, column, find, model_overrides
from bench.compare.comparison import Comparison
from bench.compare.read import ENDED
from bench.compare.stats import MIN_SEEDS
from bench.evaluation.collapse import LARGEST_RISE


def sensitivity(sides: Sides, settings: Sequence[str]) -> Seeds | None:
    """Ratio of sensitivities to settings: the root mean square of log(FID / FID of the default).

    Args:
        sides: the runs with default settings.
        settings: last parts of override keys; runs that override one of them are used.
    """
    effects = _effects(sides, settings)
    failed = sum(int(np.isinf(frame).any().sum()) for frame in effects)
    if failed:
        return Seeds({}, lacking=f"no ratio: a setting failed in {failed} seeds")
    return ratios(sides, [((frame**2).mean() ** 0.5).to_dict() for frame in effects])


GOOD = 1.5
"""Maximum ratio of a good setting's FID to that of the default."""


def good_settings(sides: Sides, settings: Sequence[str]) -> Seeds | None:
    """Share of good settings, numerator minus baseline; a failed setting is not good."""
    effects = _effects(sides, settings)
    shares = [(frame <= math.log(GOOD)).mean().to_dict() for frame in effects]
    found = differences(sides, shares)
    return found and replace(found, limits=(-1.0, 1.0))


def _effects(sides: Sides, settings: Sequence[str]) -> list[pd.DataFrame]:
    """Effects of both sides' settings; empty unless both have the same settings, at least two."""
    found = [_effects_of(group, settings, sides.scope) for group in sides.groups]
    alike = len({tuple(sorted(frame.index)) for frame in found}) == 1 and len(found[0]) > 1
    return found if alike and not any(frame.empty for frame in found) else [pd.DataFrame()] * 2


def _effects_of(
    default: Group, settings: Sequence[str], scope: Sequence[Comparison]
) -> pd.DataFrame:
    """log(FID / FID of the default) at equal images; one row per setting, one column per seed.

    Infinite if training failed. Only seeds that all settings have are included.
    """
    names: list[str] = []
    effects: list[dict[str, float]] = []
    for name, group in settings_of(default, settings, scope):
        ours, theirs = at_equal([group, default], "images")
        failed = [m.seed for m in group.members if m.run.state == "failed"]
        effect = {seed: _log_ratio(ours[seed], theirs[seed]) for seed in ours}
        effects.append(effect | dict.fromkeys(failed, math.inf))
        names.append(name)
    return pd.DataFrame(effects, index=names).dropna(axis=1)


def settings_of(
    default: Group, settings: Sequence[str], scope: Sequence[Comparison]
) -> list[tuple[str, Group]]:
    """The runs of a model that change one of these settings, and nothing else of the model.

    Args:
        default: its runs with default settings.
        settings: last parts of override keys.
        scope: where to look.

    Returns:
        (name of the setting, runs) for each value, in alphabetical order of the overrides.
    """
    model = default.members[0].run.model
    variants = {
        tuple(sorted(set(model_overrides(run))))
        for comparison in scope
        for run in comparison.runs
        if run.model == model
    }
    found = []
    for overrides in sorted(variants):
        keys = {override.partition("=")[0].rpartition(".")[2] for override in overrides}
        if len(keys) == 1 and keys <= set(settings):
            wanted = (" ".join(overrides),)
            selection = replace(default.selection, models=(model,), overrides=wanted)
            group = find(selection, 0, scope)
            if group is not None:
                found.append((*keys, group))
    return found


def _paired_settings(sides: Sides, settings: Sequence[str]) -> list[tuple[str, Group, Group]]:
    """(name, ours, theirs) of the defaults and of settings that both sides have, in order."""
    ours, theirs = sides.groups
    found = [("default", ours, theirs)]
    for setting in settings:
        grids = (
            [group for _, group in settings_of(side, [setting], sides.scope)]
            for side in (ours, theirs)
        )
        pairs = enumerate(zip(*grids, strict=False), 1)
        found += [(f"{setting} {k}", a, b) for k, (a, b) in pairs]
    return found


def unstable_runs(sides: Sides, settings: Sequence[str]) -> Counts | None:
    """Runs that failed or end far above their best FID, over the default and a grid of settings.

    Collapse is not counted: it has tests of its own.

    Args:
        sides: the runs with default settings.
        settings: last parts of override keys.
    """
    pairs = _paired_settings(sides, settings)
    counted = [tuple(map(_unstable, (a, b))) for _, a, b in pairs]
    known = [(a, b) for a, b in counted if a and b]
    return Counts(*map(tuple, zip(*known, strict=True))) if known else None


def _unstable(group: Group) -> dict[str, bool]:
    """Whether the run of each seed failed, or ends above `LARGEST_RISE` times its best FID."""
    return {
        m.seed: m.run.state == "failed" or _rise_at_end(m) > LARGEST_RISE
        for m in group.members
        if m.run.state in ENDED
    }


def _rise_at_end(member: Member) -> float:
    """Last FID over the best along the run; 1 if it is unknown or not positive."""
    values = column(member, "fid")
    known = np.isfinite(values).all() and (values > 0).all()
    return float(values[-1] / values.min()) if known and len(values) else 1.0


def _log_ratio(a: float, b: float) -> float:
    return math.log(a / b) if a > 0 and b > 0 else math.nan


def spread_over_seeds(sides: Sides, settings: Sequence[str] = ()) -> Seeds | None:
    """Ratio of standard deviations of log FID over seeds: one per data set and setting.

    Its logarithm is symmetric about 0 if both models have equal distributions, whatever these are.
    An F test on one data set would take a single collapsed seed for a difference. So that evidence
    can grow with the seeds, there is one such number for every three of them as well.

    Args:
        sides: the runs with default settings.
        settings: last parts of override keys; the spread over seeds within each is compared, too.
    """
    found = [_spread(*pair) for pair in _paired_settings(sides, settings)]
    known = [seeds for seeds in found if seeds is not None]
    if not known:
        return None
    values = {key: value for seeds in known for key, value in seeds.values.items()}
    return Seeds(values, blocks=sum((seeds.blocks for seeds in known), ()))


def _spread(setting: str, numerator: Group, baseline: Group) -> Seeds | None:
    """The ratio of spreads over seeds of two groups, and that of every three seeds."""
    ours, theirs = by_seed([numerator, baseline])
    seeds = sorted((seed for seed in ours if seed in theirs), key=int)
    whole = _spread_ratio(ours, theirs, seeds)
    if not math.isfinite(whole):
        return None
    parts = [seeds[k : k + MIN_SEEDS] for k in range(0, len(seeds) - MIN_SEEDS + 1, MIN_SEEDS)]
    found = [(int(part[-1]), _spread_ratio(ours, theirs, part)) for part in parts]
    blocks = tuple((seed, value) for seed, value in found if math.isfinite(value))
    where = ", ".join(filter(None, (numerator.place, numerator.machine)))
    key = f"{where}: {numerator.name} ({setting})"
    return Seeds({key: whole}, blocks=blocks)


def _spread_ratio(
    ours: Mapping[str, float], theirs: Mapping[str, float], seeds: Sequence[str]
) -> float:
    """Logarithm of the ratio of standard deviations of log values over some seeds, or NaN."""
    a, b = (log_spread([values[seed] for seed in seeds]) for values in (ours, theirs))
    return a - b


def log_spread(values: Sequence[float]) -> float:
    """Logarithm of the standard deviation of logarithms; NaN for too few or equal values."""
    if len(values) < MIN_SEEDS or min(values) <= 0:
        return math.nan
    deviation = float(np.std(np.log(values), ddof=1))
    return math.log(deviation) if deviation > 0 else math.nan
