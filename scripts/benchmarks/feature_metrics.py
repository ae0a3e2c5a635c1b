"""Time and memory of the metrics of features against torch-fidelity and prdc, side by side.

    python scripts/benchmarks/feature_metrics.py [--quick] [--threads 2] [--repeats 3]

- `quality` (FID, KID, precision, recall, density, coverage, duplicates) against torch-fidelity's
  FID, KID, precision and recall, from the same float32 features to the numbers. Its FID is computed
  as its command does, from float64 copies.
- `manifolds` (precision, recall, density, coverage alone) against `prdc.compute_prdc`.

Both sides take turns, so that a change in the machine's load meets both. Prints medians and the
median of the ratios, then the numbers of both. Peak memory is what a fresh process that has made
the features holds at most during one call, less what it held before; imports are counted on both
sides. --quick takes a minute and shows roughly the result.
"""

import argparse
import contextlib
import io
import statistics as stats
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

Measured = dict[str, float]


def main() -> None:
    """Print both comparisons, or, as a child process, the peak memory of one side."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="2,500 samples of 512 dimensions")
    parser.add_argument("--peak", choices=sorted(SIDES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.samples, arguments.dimensions = 2500, 512
    torch.set_num_threads(arguments.threads)
    real, fake = (_features(arguments.samples, arguments.dimensions, seed) for seed in (0, 1))
    if arguments.peak:
        print(_peak_mib(lambda: SIDES[arguments.peak](real, fake)))
        return
    print(
        f"{arguments.samples:,} × {arguments.dimensions:,} against as many, "
        f"{arguments.threads} threads, {arguments.repeats} rounds"
    )
    for ours, theirs in (("quality", "torch-fidelity"), ("manifolds", "prdc")):
        _compare(ours, theirs, real, fake, arguments)


def _quality(real: Tensor, fake: Tensor) -> Measured:
    from bench.evaluation.metrics.features import Features
    from bench.evaluation.metrics.quality import quality

    return quality(Features(real), Features(fake))


def _torch_fidelity(real: Tensor, fake: Tensor) -> Measured:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    gaussians = [fid_features_to_statistics(x.double()) for x in (fake, real)]
    fid = fid_statistics_to_metric(*gaussians, verbose=False)
    size = min(1000, len(real) // 2)
    kid = kid_features_to_metric(fake, real, kid_subset_size=size, rng_seed=2020, verbose=False)
    prc = prc_features_to_metric(fake, real, verbose=False)
    return {
        "fid": fid["frechet_inception_distance"],
        "kid": kid["kernel_inception_distance_mean"],
        "kid_std": kid["kernel_inception_distance_std"],
        "precision": prc["precision"],
        "recall": prc["recall"],
    }


def _manifolds(real: Tensor, fake: Tensor) -> Measured:
    from bench.evaluation.metrics.inner_products import clouds, distance_tiles
    from bench.evaluation.metrics.neighbours import Nearest, Neighbourhoods

    sets = clouds(real, fake)
    nearest = Nearest(sets[0]), Nearest(sets[1])
    for cloud, own in zip(sets, nearest, strict=True):
        for tile in distance_tiles(cloud, cloud):
            own.add(tile)
    neighbourhoods = Neighbourhoods(*nearest)
    for tile in distance_tiles(*sets):
        neighbourhoods.add(tile)
    return {name: float(share.mean()) for name, share in neighbourhoods.shares().items()}


def _prdc(real: Tensor, fake: Tensor) -> Measured:
    from prdc import compute_prdc

    with contextlib.redirect_stdout(io.StringIO()):
        scores = compute_prdc(real.numpy(), fake.numpy(), nearest_k=5)
    return {"density": scores["density"], "coverage": scores["coverage"]}


SIDES: dict[str, Callable[[Tensor, Tensor], Measured]] = {
    "quality": _quality,
    "torch-fidelity": _torch_fidelity,
    "manifolds": _manifolds,
    "prdc": _prdc,
}


def _compare(
    ours: str, theirs: str, real: Tensor, fake: Tensor, arguments: argparse.Namespace
) -> None:
    times: dict[str, list[float]] = {ours: [], theirs: []}
    scores: dict[str, Measured] = {}
    for side in times:  # imports and threads
        SIDES[side](real[:500], fake[:500])
    for round_ in range(arguments.repeats):
        for side in sorted(times, reverse=bool(round_ % 2)):
            started = time.perf_counter()
            scores[side] = SIDES[side](real, fake)
            times[side].append(time.perf_counter() - started)
    for side, seconds in times.items():
        peak = _child_peak(side, arguments)
        print(f"{side:<15}{stats.median(seconds):8.2f} s{peak:8.0f} MiB")
    ratios = [own / other for own, other in zip(times[ours], times[theirs], strict=True)]
    print(
        f"{ours} takes {stats.median(ratios):.3f} of {theirs}'s time "
        f"({min(ratios):.3f}..{max(ratios):.3f}), it is {1 / stats.median(ratios):.1f} × as fast"
    )
    for metric, value in scores[theirs].items():
        print(f"  {metric:<10}{scores[ours][metric]:14.6g}{value:14.6g}")


def _child_peak(side: str, arguments: argparse.Namespace) -> float:
    command = [sys.executable, __file__, "--peak", side]
    for option in ("samples", "dimensions", "threads"):
        command += [f"--{option}", str(getattr(arguments, option))]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _peak_mib(call: Callable[[], Measured]) -> float:
    """Increase of this process's peak resident memory during a call, in MiB; Linux only."""
    Path("/proc/self/clear_refs").write_text("5")  # sets the highest to the present
    before = _memory_kib("VmRSS")
    call()
    return (_memory_kib("VmHWM") - before) / 1024


def _memory_kib(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def _features(samples: int, dimensions: int, seed: int) -> Tensor:
    """Non-negative correlated features whose variances decay, as those of Inception do."""
    generator = torch.Generator().manual_seed(seed)
    scales = torch.exp(-torch.arange(dimensions) / (dimensions / 8))
    mixing = torch.randn(dimensions, dimensions, generator=torch.Generator().manual_seed(99))
    x = torch.randn(samples, dimensions, generator=generator) * scales * (1 + 0.05 * seed)
    return (x @ mixing / dimensions**0.5).add_(0.3).relu_()


if __name__ == "__main__":
    main()
