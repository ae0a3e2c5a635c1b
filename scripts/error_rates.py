"""Error rates, power and coverage of the statistics over seeds, by simulation.

Prints the tables of docs/statistics.md, which call the functions that bench.compare calls.
Command: python scripts/error_rates.py [--simulations 20000]
"""

import argparse
import math
from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np

from bench.compare.stats import bootstrap_interval, holm, paired_differences, power, verdict
from bench.compare.topics.pairs import all_differences

Noise = Callable[[np.random.Generator, int, int], np.ndarray]
"""(generator, models, seeds) → logarithms of FID of models that are all the same, (M, S)."""

SEEDS = (3, 5, 10)
MODELS = 6


def normal(rng: np.random.Generator, models: int, seeds: int) -> np.ndarray:
    """Normal noise of 10 %."""
    return 2 + 0.1 * rng.normal(size=(models, seeds))


def skewed(rng: np.random.Generator, models: int, seeds: int) -> np.ndarray:
    """Log-normal noise: most seeds good, some far worse."""
    return 2 + 0.1 * rng.lognormal(size=(models, seeds))


def common(rng: np.random.Generator, models: int, seeds: int) -> np.ndarray:
    """A seed effect common to all models, three times the effect of a single model."""
    return normal(rng, models, seeds) + 0.3 * rng.normal(size=(1, seeds))


def collapsing(rng: np.random.Generator, models: int, seeds: int) -> np.ndarray:
    """One seed in ten collapses: its FID is multiplied by e²."""
    return normal(rng, models, seeds) + 2.0 * (rng.random((models, seeds)) < 0.1)


NOISES: dict[str, Noise] = {
    "normal": normal,
    "skewed (log-normal)": skewed,
    "common to the models of a seed": common,
    "one seed in ten collapses": collapsing,
}


def different(log_fids: np.ndarray, *, paired: bool = True) -> np.ndarray:
    """Which pairs of models the procedure calls different.

    Args:
        log_fids: (M, S).
        paired: whether models share their seeds.

    Returns:
        bool, (P,), in the order of `itertools.combinations`.
    """
    samples = [
        {f"{0 if paired else k}-{seed}": float(fid) for seed, fid in enumerate(np.exp(row))}
        for k, row in enumerate(log_fids)
    ]
    differences = all_differences(samples)
    adjusted = holm([d.p for d in differences])
    found = [verdict(p, d.n) for p, d in zip(adjusted, differences, strict=True)]
    return np.array([words == "different" for words in found])


def family_wise_error(
    noise: Noise, seeds: int, simulations: int, *, paired: bool = True, models: int = MODELS
) -> float:
    """How often a comparison of one model with itself calls any pair different."""
    rng = np.random.default_rng(0)
    wrong = [different(noise(rng, models, seeds), paired=paired).any() for _ in range(simulations)]
    return float(np.mean(wrong))


def found_alone(effect: float, seeds: int, simulations: int) -> float:
    """How often one pair is called different.

    Args:
        effect: true mean of the paired differences over their standard deviation.
        seeds: of each.
        simulations: how many.
    """
    rng = np.random.default_rng(0)
    d = rng.normal(effect, 1.0, size=(simulations, seeds))
    found = [verdict(x.p, x.n) for x in paired_differences(d, np.zeros((1, seeds)))]
    return float(np.mean([words == "different" for words in found]))


def found_in_family(shift: float, seeds: int, simulations: int) -> float:
    """Of the pairs of one model that is better than all others, the share called different.

    Args:
        shift: how much better, in standard deviations of a model over seeds.
        seeds: of each.
        simulations: how many.
    """
    rng = np.random.default_rng(0)
    true = np.array([0 in pair for pair in combinations(range(MODELS), 2)])
    shares = []
    for _ in range(simulations):
        log_fids = normal(rng, MODELS, seeds)
        log_fids[0] -= 0.1 * shift
        shares.append(different(log_fids)[true].mean())
    return float(np.mean(shares))


def student_coverage(noise: Noise, seeds: int, simulations: int) -> float:
    """How often Student's interval of the difference of two models covers the true one, zero."""
    rng = np.random.default_rng(0)
    x, y = np.stack([noise(rng, 2, seeds) for _ in range(simulations)], axis=1)  # (N, S) each
    return float(np.mean([d.low <= 0 <= d.high for d in paired_differences(x, y)]))


def bootstrap_coverage(noise: Noise, mean: float, seeds: int, simulations: int) -> float:
    """How often the bootstrap interval over seeds of one model covers its true mean."""
    rng = np.random.default_rng(0)
    ends = [bootstrap_interval(noise(rng, 1, seeds)[0]) for _ in range(simulations)]
    return float(np.mean([low <= mean <= high for low, high in ends]))


def error_table(simulations: int) -> Iterator[str]:
    """Family-wise error by noise and number of seeds, as Markdown."""
    yield row("noise of FID over seeds", *(f"{n} seeds" for n in SEEDS))
    yield row("---", *["---:"] * len(SEEDS))
    for name, noise in NOISES.items():
        yield row(name, *(percent(family_wise_error(noise, n, simulations)) for n in SEEDS))
    rates = [family_wise_error(skewed, n, simulations, paired=False) for n in SEEDS]
    yield row("skewed, models of different seeds (Welch)", *map(percent, rates))


def power_table(simulations: int) -> Iterator[str]:
    """Power by number of seeds, simulated and computed, as Markdown."""
    yield row("one standard deviation of", *(f"{n} seeds" for n in SEEDS))
    yield row("---", *["---:"] * len(SEEDS))
    for name, effect in (("the paired differences", 1.0), ("a model over seeds", math.sqrt(0.5))):
        simulated = [percent(found_alone(effect, n, simulations)) for n in SEEDS]
        computed = [percent(power(n, effect)) for n in SEEDS]
        yield row(f"{name}: one comparison, simulated", *simulated)
        yield row(f"{name}: the same, computed", *computed)
    shares = [percent(found_in_family(1.0, n, simulations)) for n in SEEDS]
    yield row("a model over seeds: one of six models differs, 15 pairs", *shares)


def coverage_table(simulations: int) -> Iterator[str]:
    """Coverage of both intervals by number of seeds, as Markdown."""
    yield row("95 % interval", *(f"{n} seeds" for n in SEEDS))
    yield row("---", *["---:"] * len(SEEDS))
    for name, noise in NOISES.items():
        rates = [percent(student_coverage(noise, n, simulations)) for n in SEEDS]
        yield row(f"of a difference (Student), {name}", *rates)
    few = min(simulations, 4000)  # resamples of ten seeds are drawn, not enumerated
    for name, noise, mean in (
        ("normal", normal, 2.0),
        ("skewed (log-normal)", skewed, 2 + 0.1 * math.exp(0.5)),
    ):
        rates = [percent(bootstrap_coverage(noise, mean, n, few)) for n in SEEDS]
        yield row(f"of a mean (bootstrap), {name}", *rates)


def row(*cells: str) -> str:
    """Cells as one line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def percent(share: float) -> str:
    """A share as a percentage, one decimal."""
    return f"{100 * share:.1f} %"


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--simulations", type=int, default=20_000)
    simulations = parser.parse_args().simulations
    for table in (error_table, power_table, coverage_table):
        print("\n".join(table(simulations)), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
