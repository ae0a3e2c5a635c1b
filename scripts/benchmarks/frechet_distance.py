"""Time the Fréchet distance against torch-fidelity's, side by side.

    python scripts/benchmarks/frechet_distance.py

Both start from two means and covariances of Inception's 2048 dimensions and take turns, so that a
change in the machine's load meets both. Prints medians, and the median of the ratios. On a machine
that is busy with other work, --threads 1 --clock cpu counts processor time instead.
"""

import argparse
import statistics as stats

import numpy as np
import torch
from clocks import add_options, seconds_of, start
from torch_fidelity.metric_fid import fid_statistics_to_metric

from bench.evaluation.metrics.fid import frechet_distance, statistics


def main() -> None:
    """Print the times of both functions."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=7)
    add_options(parser)
    arguments = parser.parse_args()
    clock = start(arguments)
    first = _gaussian(arguments.samples, arguments.dimensions, seed=0)
    second = _gaussian(arguments.samples, arguments.dimensions, seed=1)
    keys = ("mu", "sigma")
    records = dict(zip(keys, first, strict=True)), dict(zip(keys, second, strict=True))

    def ours() -> float:
        return frechet_distance(*first, *second)

    def theirs() -> float:
        return fid_statistics_to_metric(*records, verbose=False)["frechet_inception_distance"]

    difference = abs(ours() / theirs() - 1)  # warms both up
    times = [(seconds_of(ours, clock), seconds_of(theirs, clock)) for _ in range(arguments.repeats)]
    ratios = [reference / own for own, reference in times]
    print(
        f"D = {arguments.dimensions}, {torch.get_num_threads()} threads, {len(times)} rounds, "
        f"{arguments.clock} time"
    )
    print(f"relative difference  {difference:.1e}")
    print(f"frechet_distance     {stats.median(own for own, _ in times):.3f} s")
    print(f"torch-fidelity       {stats.median(reference for _, reference in times):.3f} s")
    print(f"median of ratios     {stats.median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})")


def _gaussian(samples: int, dimensions: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of correlated features whose variances decay as those of Inception do."""
    generator = torch.Generator().manual_seed(seed)
    scales = torch.exp(-torch.arange(dimensions) / (dimensions / 8))
    mixing = torch.randn(dimensions, dimensions, generator=generator) * scales
    x = torch.randn(samples, dimensions, generator=generator) @ mixing.T
    return statistics(x / dimensions**0.5)


if __name__ == "__main__":
    main()
