"""Error rates, seeds and compute of sequential verdicts (bench.decide), by simulation.

Prints tables of docs/statistics.md, which call the functions that bench.compare calls.
Command: python -m scripts.error_rates_sequential [--simulations 20000]
"""

import argparse
import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from bench.compare.racing import standings
from bench.compare.sequential import (
    LEVEL,
    MAX_SEEDS,
    confidence_sequence,
    equality_evidence,
    evidence,
)
from bench.compare.stats import CONFIDENCE, MIN_SEEDS, SIGNIFICANCE, power
from scripts.error_rates import MODELS, Noise, normal, percent, row
from scripts.error_rates import NOISES as NOISES_OF_ONE_MACHINE

EVIDENCE = Path(__file__).resolve().parents[1] / "docs" / "evidence"
PAIRS = MODELS * (MODELS - 1) // 2
MARGIN = math.log(1.1)
LONGEST = 60
"""Seeds up to which the time to a verdict is simulated."""

SPREADS = (0.02, 0.05, 0.1)
"""Standard deviations of the logarithm of FID of a model over seeds."""


def on_a_noisier_machine(rng: np.random.Generator, models: int, seeds: int) -> np.ndarray:
    """Normal noise that is three times as large from the fourth seed on."""
    return _scaled_from_the_fourth(normal(rng, models, seeds), 3.0)


def on_a_quieter_machine(rng: np.random.Generator, models: int, seeds: int) -> np.ndarray:
    """Normal noise that is a third as large from the fourth seed on."""
    return _scaled_from_the_fourth(normal(rng, models, seeds), 1 / 3)


def _scaled_from_the_fourth(log_fids: np.ndarray, factor: float) -> np.ndarray:
    return 2 + (log_fids - 2) * np.where(np.arange(log_fids.shape[1]) < 3, 1.0, factor)


NOISES: dict[str, Noise] = NOISES_OF_ONE_MACHINE | {
    "from the fourth seed on a machine with three times the noise": on_a_noisier_machine,
    "from the fourth seed on a machine with a third of the noise": on_a_quieter_machine,
}


def simulate(noise: Noise, models: int, simulations: int, seeds: int = MAX_SEEDS) -> np.ndarray:
    """Logarithms of FID of models that are all alike, (N, M, S)."""
    rng = np.random.default_rng(0)
    return np.stack([noise(rng, models, seeds) for _ in range(simulations)])


def pair_differences(log_fids: np.ndarray) -> np.ndarray:
    """Paired differences of all pairs: (N, M, S) → (N, P, S)."""
    first, second = np.array(list(combinations(range(log_fids.shape[1]), 2))).T
    return log_fids[:, first] - log_fids[:, second]


def first_look(path: np.ndarray, threshold: float) -> np.ndarray:
    """Number of seeds at which the evidence reaches the threshold, (..., S) → (...); or inf."""
    reached = path >= threshold
    return np.where(reached.any(axis=-1), reached.argmax(axis=-1) + 1.0, math.inf)


def student_looks(d: np.ndarray, pairs: int) -> np.ndarray:
    """Whether Student's t, with Holm's first step for that many pairs, calls a pair different.

    Args:
        d: paired differences, (..., S).
        pairs: size of the family.

    Returns:
        bool after each seed, (..., S); False below three seeds.
    """
    from scipy.special import stdtrit

    n = np.arange(1, d.shape[-1] + 1)
    mean = np.cumsum(d, axis=-1) / n
    rest = np.maximum(np.cumsum(d * d, axis=-1) - n * mean**2, 1e-300)
    t = np.abs(mean) * np.sqrt(n * np.maximum(n - 1, 1) / rest)
    critical = stdtrit(np.maximum(n - 1, 1), 1 - SIGNIFICANCE / pairs / 2)
    return (t > critical) & (n >= MIN_SEEDS)


def false_verdicts(noise: Noise, models: int, simulations: int) -> tuple[float, float]:
    """How often one of several models that are all alike is called different at some look.

    Returns:
        By the e-process, and by Student's t with Holm's correction looked at after every seed.
    """
    d = pair_differences(simulate(noise, models, simulations))
    sequential = first_look(evidence(d), d.shape[1] / LEVEL) <= MAX_SEEDS
    fixed = student_looks(d, d.shape[1]).any(axis=-1)
    return float(sequential.any(axis=-1).mean()), float(fixed.any(axis=-1).mean())


def evidence_at_stop(noise: Noise, simulations: int) -> np.ndarray:
    """The evidence of a difference of two models that are alike when one stops looking, (N,).

    One stops as soon as it reaches 20, or at the last seed. On average it is at most 1, which is
    what corrections over several verdicts rest on.
    """
    path = evidence(pair_differences(simulate(noise, 2, simulations))[:, 0])
    reached = path >= 1 / LEVEL
    stop = np.where(reached.any(axis=-1), reached.argmax(axis=-1), path.shape[-1] - 1)
    return np.take_along_axis(path, stop[:, None], axis=-1)[:, 0]


def seeds_to_settle(effect: float, pairs: int, simulations: int) -> np.ndarray:
    """Seeds after which a difference is shown at the strictest step of a family, (N,).

    Args:
        effect: true mean of the paired differences over their standard deviation.
        pairs: size of the family.
        simulations: N.
    """
    d = np.random.default_rng(0).normal(effect, 1.0, size=(simulations, LONGEST))
    return first_look(evidence(d), pairs / LEVEL)


def seeds_of_fixed_test(effect: float, pairs: int) -> int:
    """Seeds that Student's t needs for a power of 80 % at the strictest step of a family."""
    return next(n for n in range(2, 1000) if power(n, effect, SIGNIFICANCE / pairs) >= 0.8)


def called_equal(noise: Noise, spread: float, centre: float, simulations: int) -> float:
    """How often two models are called practically equal at some look.

    Args:
        noise: of both models; scaled so that `normal` has a standard deviation of `spread`.
        spread: of a model over seeds, of logarithms.
        centre: true difference of logarithms.
        simulations: how many.
    """
    d = pair_differences(simulate(noise, 2, simulations)) * spread / 0.1 + centre
    return float((first_look(equality_evidence(d, MARGIN), 1 / LEVEL) <= MAX_SEEDS).mean())


def seeds_to_equality(spread: float, simulations: int) -> np.ndarray:
    """Seeds after which two identical models are called practically equal, (N,)."""
    scale = math.sqrt(2) * spread
    d = np.random.default_rng(0).normal(0.0, scale, size=(simulations, LONGEST))
    return first_look(equality_evidence(d, MARGIN), 1 / LEVEL)


def coverage(noise: Noise, simulations: int) -> float:
    """How often the intervals of all looks cover a true ratio of 1.3 together."""
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(simulations):
        x, y = noise(rng, 2, MAX_SEEDS)
        d = x - y + math.log(1.3)
        ends = [confidence_sequence(d[:n]) for n in range(2, MAX_SEEDS + 1)]
        inside.append(all(low <= math.log(1.3) <= high for low, high in ends))
    return float(np.mean(inside))


def widths(seeds: int, simulations: int) -> float:
    """Median length of the interval of a confidence sequence over that of Student's interval."""
    from scipy.special import stdtrit

    d = np.random.default_rng(0).normal(size=(simulations, seeds))
    student = 2 * stdtrit(seeds - 1, (1 + CONFIDENCE) / 2) * d.std(axis=1, ddof=1) / seeds**0.5
    ends = np.array([confidence_sequence(row) for row in d])
    return float(np.median((ends[:, 1] - ends[:, 0]) / student))


@dataclass(frozen=True)
class Race:
    """One simulated race and the full grid that it is compared with.

    Attributes:
        runs: made by racing, over those of the full grid.
        loss: true FID of the model that racing chose, over that of the best.
        grid_loss: the same for the lowest geometric mean of the full grid.
        lost: whether the best model was dropped.
    """

    runs: float
    loss: float
    grid_loss: float
    lost: bool


def race(means: np.ndarray, spreads: np.ndarray, rng: np.random.Generator) -> Race:
    """Race models by blocks of one seed until "which is best" is settled, or the seeds are used up.

    Args:
        means: true means of the logarithm of FID, (M,).
        spreads: standard deviations over seeds, (M,).
        rng: for the noise, normal.
    """
    models = len(means)
    full = means[:, None] + spreads[:, None] * rng.normal(size=(models, MAX_SEEDS))
    seen = np.full_like(full, math.nan)
    remaining = tuple(range(models))
    for seed in range(MAX_SEEDS):
        seen[list(remaining), seed] = full[list(remaining), seed]
        now = standings(np.exp(seen[:, : seed + 1]), margin=math.exp(MARGIN), ratio=True)
        remaining = now.remaining
        if not now.open:
            break
    chosen = min(remaining, key=lambda k: float(np.nanmean(seen[k])))
    grid, best = int(full.mean(axis=1).argmin()), int(means.argmin())
    runs = float((~np.isnan(seen)).mean())
    loss, grid_loss = (math.exp(means[k] - means[best]) for k in (chosen, grid))
    return Race(runs, loss, grid_loss, best not in remaining)


def recorded(skip: int, models: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Means and spreads of the logarithm of FID of trained models in docs/evidence/digits.csv.

    Args:
        skip: number of best models to leave out.
        models: number of models, those of the lowest mean FID with five seeds or more.
    """
    with (EVIDENCE / "digits.csv").open(encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["trained"] == "True" and int(r["n"]) >= 5]
    best = {}
    for r in sorted(rows, key=lambda r: float(r["fid_domain_mean"])):
        fid, std = float(r["fid_domain_mean"]), float(r["fid_domain_std"])
        best.setdefault((r["model"], r["variant"]), (fid, std))
    fid, std = np.array(list(best.values())[skip : skip + models]).T
    spread = np.sqrt(np.log1p((std / fid) ** 2))
    return np.log(fid) - spread**2 / 2, spread


def error_table(simulations: int) -> Iterator[str]:
    """False verdicts at any look, as Markdown."""
    columns = ("one comparison", "Student's t", f"{PAIRS} pairs", "Student's t", "mean evidence")
    yield row("noise", *columns)
    yield row("---", *["---:"] * len(columns))
    for name, noise in NOISES.items():
        alone = false_verdicts(noise, 2, simulations)
        family = false_verdicts(noise, MODELS, math.ceil(simulations / 4))
        mean = f"{evidence_at_stop(noise, simulations).mean():.2f}"
        yield row(name, *map(percent, (*alone, *family)), mean)


def seeds_table(simulations: int) -> Iterator[str]:
    """Seeds to a verdict, as Markdown."""
    yield row("difference", "pairs", "half settled by", "80 % settled by", "Student's t", "ratio")
    yield row("---", *["---:"] * 5)
    for effect in (1.0, 2.0, 3.0):
        for pairs in (1, PAIRS):
            found = seeds_to_settle(effect, pairs, simulations)
            half, most = (_quantile(found, q) for q in (0.5, 0.8))
            fixed = seeds_of_fixed_test(effect, pairs)
            cells = (f"{half:g}", f"{most:g}", str(fixed), f"{most / fixed:.2f}")
            words = f"{effect:g} standard deviation{'s' * (effect > 1)}"
            yield row(words, str(pairs), *cells)


def equality_table(simulations: int) -> Iterator[str]:
    """How often and how soon models are called practically equal, as Markdown."""
    yield row("true ratio", "noise", *(f"{100 * s:.0f} % of FID" for s in SPREADS))
    yield row("---", "---", *["---:"] * len(SPREADS))
    for ratio in (1.1, 1.15):
        for name, noise in NOISES.items():
            rates = [called_equal(noise, s, math.log(ratio), simulations) for s in SPREADS]
            yield row(f"{ratio:g}", name, *map(percent, rates))
    found = [seeds_to_equality(s, simulations) for s in SPREADS]
    for words, q in (("half found by", 0.5), ("80 % found by", 0.8)):
        seeds = (_quantile(f, q) for f in found)
        texts = (f"{n:g} seeds" if n < math.inf else f"more than {LONGEST}" for n in seeds)
        yield row("1", f"normal, {words}", *texts)


def interval_table(simulations: int) -> Iterator[str]:
    """Coverage and length of confidence sequences, as Markdown."""
    yield row("confidence sequence", "value")
    yield row("---", "---:")
    for name, noise in NOISES.items():
        rate = percent(coverage(noise, math.ceil(simulations / 50)))
        yield row(f"coverage at all {MAX_SEEDS} looks together, {name}", rate)
    for seeds in (5, 10, 20, MAX_SEEDS):
        ratio = widths(seeds, math.ceil(simulations / 50))
        yield row(f"length over that of Student's interval, {seeds} seeds", f"{ratio:.2f}")


def racing_table(simulations: int) -> Iterator[str]:
    """Compute and choices of racing, as Markdown."""
    yield row("", "12 best on digits", "without the best")
    yield row("---", "---:", "---:")
    columns = []
    for skip in (0, 1):
        means, spreads = recorded(skip)
        rng = np.random.default_rng(0)
        columns.append([race(means, spreads, rng) for _ in range(math.ceil(simulations / 50))])
    near = math.exp(MARGIN)
    for name, value in (
        ("runs of racing over those of the full grid", lambda r: r.runs),
        ("racing chooses the best model", lambda r: r.loss == 1),
        ("the full grid chooses the best model", lambda r: r.grid_loss == 1),
        ("racing chooses a model within the margin of the best", lambda r: r.loss <= near),
        ("the full grid chooses one", lambda r: r.grid_loss <= near),
        ("the best model is dropped", lambda r: r.lost),
    ):
        yield row(name, *(percent(float(np.mean([value(r) for r in races]))) for races in columns))


def _quantile(seeds: np.ndarray, share: float) -> float:
    """Smallest number of seeds by which at least this share has a verdict."""
    return float(np.sort(seeds)[math.ceil(share * len(seeds)) - 1])


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--simulations", type=int, default=20_000)
    simulations = parser.parse_args().simulations
    for table in (error_table, seeds_table, equality_table, interval_table, racing_table):
        print("\n".join(table(simulations)), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
