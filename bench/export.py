"""`python -m bench.export`: a recorded run's samples, or its model, in files for other tools."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from bench.runtime.interrupts import said_in_one_line
from bench.runtime.printing import printable, replace_what_cannot_be_shown, words

if TYPE_CHECKING:
    import numpy as np

    from bench.runs.reload import RecordedRun

EPILOG = """\
Samples are those that the run's evaluator scored: same seed, batches, weights and precision; on the
same kind of device the first of them are the same bit for bit.

examples (RUN is results/runs/<dataset>/<model>/<variant>/seed=<seed>):
  python -m bench.export RUN --out samples             a folder of PNGs, for torch-fidelity's
                                                       `fidelity --input1 samples` and clean-fid
  python -m bench.export RUN --out samples.zip         the same PNGs in a zip
  python -m bench.export RUN --out samples.npz --rgb   for ADM's evaluator, which reads RGB only
  python -m bench.export RUN --out points.npy          points; .npy carries no metadata
  python -m bench.export RUN --out signals.npz         signals in their own units, (N, C, L)

  python -m bench.export RUN --out samples --trust my_models   a model of your own package

  python -m bench.export RUN --format diffusers --out folder   for DDPMPipeline.from_pretrained
  python -m bench.export RUN --format onnx --out model.onnx    a network call, for onnxruntime
  python -m bench.export RUN --format onnx --out decoder.onnx --part decoder   one of several

Every file says that samples are synthetic and which run made it. What the formats of models hold,
and how to load them: docs/export.md. Of the code that RUN's configuration names, only what
conf/constructors.yaml lists is called, and the classes and functions of packages that you trust.
"""


FORMATS = ("diffusers", "onnx")
"""Formats of models, each a module of `bench.runs.exports`."""

OF_SAMPLES = ("samples", "sampler", "seed", "batch_size", "rgb")
"""Options of --format samples only."""


def parser() -> argparse.ArgumentParser:
    """The arguments of `python -m bench.export`."""
    made = argparse.ArgumentParser(
        prog="python -m bench.export",
        description="Write samples of a recorded run, or its model, for other tools.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("run", type=Path, help="the run directory")
    made.add_argument(
        "--out", type=Path, required=True, help=".npz, .npy, .zip, .onnx, or a folder to make"
    )
    made.add_argument(
        "--format",
        choices=("samples", *FORMATS),
        default="samples",
        help="what to write (default: samples)",
    )
    made.add_argument("--part", help="onnx: which network call, if the model has several")
    made.add_argument("--samples", type=int, help="how many (default: as many as were scored)")
    made.add_argument("--sampler", help="which sampler, if the model has several")
    made.add_argument("--seed", type=int, help="seed of the samples (default: the evaluator's)")
    made.add_argument(
        "--batch-size", type=int, help="samples generated at a time (default: the evaluator's)"
    )
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    made.add_argument("--data-root", type=Path, help="where data sets lie, if they were moved")
    made.add_argument("--rgb", action="store_true", help="repeat grey images to three channels")
    made.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="a package of your own whose code RUN may call; may be given several times",
    )
    made.add_argument("--force", action="store_true", help="replace samples exported to --out")
    return made


def main(arguments: Sequence[str]) -> int:
    """Export samples or a model.

    Returns:
        The exit code: 2, after one sentence on standard error, if they cannot be had.
    """
    options = parser().parse_args(arguments)
    replace_what_cannot_be_shown()
    from bench.errors import RunError, one_sentence  # after parsing: it imports hydra

    try:
        with one_sentence():
            (export if options.format == "samples" else export_model)(options)
    except RunError as error:
        print(f"bench.export: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def export(options: argparse.Namespace) -> None:
    """Draw and write what the arguments of `parser` ask for.

    Raises:
        ValueError, OSError: an argument is out of range, or the run has no such samples.
    """
    if options.part is not None or options.out.suffix.lower() == ".onnx":
        raise ValueError("--part and an --out that ends in .onnx are for --format onnx: give it")
    for name in ("samples", "batch_size"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    from bench.data.sample_files import check_target, write_samples

    check_target(options.out, replace=options.force)
    from bench.runs.trust import trusting

    with trusting(options.trust, "--trust {}"):
        from bench.runs.reload import rebuild  # imports torch

        run = rebuild(options.run, options.device, options.data_root)
    from bench.data.dataset import kind_of

    check_target(options.out, run.shape, replace=options.force)
    if options.rgb and len(run.shape) != 3:
        raise ValueError(f"--rgb is for images, {run.name} generates {kind_of(run.shape)}")
    sampler = _choose_sampler(run, options.sampler)
    total = options.samples or run.options.samples
    seed = run.options.seed if options.seed is None else options.seed
    about = _about(run, sampler, seed)
    batches = _generate(run, sampler, total, seed, options.batch_size or run.options.batch_size)
    if options.rgb and run.shape[0] == 1:
        batches = (batch.repeat(3, axis=3) for batch in batches)
    write_samples(options.out, batches, total, about)
    said = f"{options.out}: {total:,} samples of {run.name}, {sampler}, {run.weights} weights"
    with words():
        print(printable(said))


def export_model(options: argparse.Namespace) -> None:
    """Write a model in the format that the arguments of `parser` ask for.

    Raises:
        ValueError, OSError: an argument is of samples, or the model has no counterpart.
    """
    for name in OF_SAMPLES:
        if getattr(options, name) not in (None, False):
            option = name.replace("_", "-")
            raise ValueError(f"--{option} is for --format samples, not {options.format}")
    if options.device not in ("auto", "cpu"):
        raise ValueError(
            f"--device={options.device} is for --format samples: models are exported from the CPU"
        )
    from bench.runs.trust import trusting

    form = import_module(f"bench.runs.exports.{options.format}")  # imports torch
    form.check(options.out, replace=options.force)
    with trusting(options.trust, "--trust {}"):
        from bench.runs.reload import rebuild

        run = rebuild(options.run, "cpu", options.data_root)
    written = form.write(run, options.run, options.out, options.part)
    with words():
        print(printable(f"{options.out}: {written}"))


def _choose_sampler(run: "RecordedRun", name: str | None) -> str:
    """The sampler named, or the only one."""
    names = list(run.model.samplers)
    if name is None and len(names) == 1:
        return names[0]
    if name is None:
        raise ValueError(f"{run.name} has several samplers: give --sampler {' or '.join(names)}")
    if name not in names:
        raise ValueError(f"--sampler must be one of {names}, got {name!r}")
    return name


def _generate(
    run: "RecordedRun", name: str, total: int, seed: int, batch_size: int
) -> Iterator["np.ndarray"]:
    """Yield batches, `total` samples in all.

    Images are (B, H, W, C) uint8, points (B, D) float32, signals (B, C, L) float64 in own units.

    Raises:
        ValueError: the sampler holds fewer samples, or they are not finite.
    """
    from bench.evaluation.sampling import SamplesNotFiniteError, batch_sizes, generate
    from bench.runtime.isolation import evaluating
    from bench.runtime.progress import shown_progress

    sampler = run.model.samplers[name]
    if sampler.limit is not None and total > sampler.limit:
        raise ValueError(f"--samples={total}, but {name} has only {sampler.limit}")
    batches = generate(
        name,
        sampler,
        batch_sizes(total, run.options.samples, batch_size),
        frequencies=run.frequencies,
        shape=run.shape,
        seed=seed,
        precision=run.options.precision,
        device=run.model.progress.device,
    )
    missing = total
    progress = shown_progress(f"generating {name}", total)
    with progress as advance, evaluating(run.model):
        try:
            for batch in batches:
                kept = batch.stored[:missing].numpy()
                missing -= len(kept)
                advance(len(kept))
                kept = kept if run.scale is None else run.scale.to_own(kept)
                yield kept.transpose(0, 2, 3, 1) if kept.ndim == 4 else kept
        except SamplesNotFiniteError as error:
            raise ValueError(f"{run.name}: {error}") from error


def _about(run: "RecordedRun", name: str, seed: int) -> dict[str, str]:
    """What every file says of its samples.

    Whether they are synthetic follows from the network calls that a sample cost: no call, no
    synthesis; an unknown number leaves it open.
    """
    import bench
    from bench.runs.provenance import commit

    nfe = run.model.samplers[name].nfe
    return {
        "Synthetic": "unknown" if nfe is None else str(nfe > 0).lower(),
        "Run": run.name,
        "Sampler": name,
        "Weights": run.weights,
        "Step": str(run.step),
        "Sampling seed": str(seed),
        "Software": f"gan-vs-diffusion {bench.__version__} {commit()}".strip(),
    }


if __name__ == "__main__":
    with said_in_one_line("bench.export", "give the same command again"):
        sys.exit(main(sys.argv[1:]))
