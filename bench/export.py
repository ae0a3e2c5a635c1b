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

    from bench.runs.loaded import LoadedModel

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
    made.add_argument("--sampler", help="which sampler: one that was scored, or another")
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
    made.add_argument(
        "--unfinished",
        action="store_true",
        help="take a run that has not finished, or failed, as it is in its last checkpoint",
    )
    made.add_argument(
        "--keep",
        choices=("last", "best"),
        default="last",
        help="which weights: the last ones, or those that trainer.keep=best kept (default: last)",
    )
    made.add_argument("--force", action="store_true", help="replace what was exported to --out")
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
    """Generate and write the samples that the arguments of `parser` ask for.

    Raises:
        ValueError, OSError: an argument is out of range, or the run has no such samples.
    """
    if options.part is not None or options.out.suffix.lower() == ".onnx":
        raise ValueError("--part, and an --out that ends in .onnx, are for --format onnx: add that")
    for name in ("samples", "batch_size"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    from bench.data.sample_files import check_target, write_samples

    check_target(options.out, replace=options.force)
    from bench.runs.loaded import load_for  # imports torch

    model = load_for(
        options.run,
        options.device,
        options.data_root,
        trust=options.trust,
        trust_option="--trust {}",
        unfinished_option=None if options.unfinished else "--unfinished",
        keep=options.keep,
    )
    check_target(options.out, model.data.shape, replace=options.force)
    if options.rgb and model.kind != "images":
        raise ValueError(f"--rgb is for images, {model.name} generates {model.kind}")
    sampler = _choose_sampler(model, options.sampler)
    total = options.samples or model.scored
    seed = model.seed if options.seed is None else options.seed
    batches = model.batches(total, sampler, seed=seed, batch_size=options.batch_size)
    about = _about(model, sampler, seed)
    batches = _shown(batches, sampler, total)
    if options.rgb and model.shape[-1] == 1:
        batches = (batch.repeat(3, axis=3) for batch in batches)
    write_samples(options.out, batches, total, about)
    said = f"{options.out}: {total:,} samples of {model.name}, {sampler}, {model.weights} weights"
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
    from bench.runs.loaded import load_for  # imports torch

    form = import_module(f"bench.runs.exports.{options.format}")
    form.check(options.out, replace=options.force)
    model = load_for(
        options.run,
        "cpu",
        options.data_root,
        trust=options.trust,
        trust_option="--trust {}",
        unfinished_option=None if options.unfinished else "--unfinished",
        keep=options.keep,
    )
    written = form.write(model, options.run, options.out, options.part)
    with words():
        print(printable(f"{options.out}: {written}"))


def _choose_sampler(model: "LoadedModel", name: str | None) -> str:
    """The sampler named, or the only one."""
    if name is not None:
        return name
    first, *others = model.samplers
    if others:
        names = " or ".join(model.samplers)
        raise ValueError(f"{model.name} has several samplers: give --sampler {names}")
    return first


def _shown(batches: "Iterator[np.ndarray]", sampler: str, total: int) -> "Iterator[np.ndarray]":
    """The batches, with a progress line."""
    from bench.runtime.progress import shown_progress

    with shown_progress(f"generating {sampler}", total) as advance:
        for batch in batches:
            advance(len(batch))
            yield batch


def _about(model: "LoadedModel", name: str, seed: int) -> dict[str, str]:
    """What every file says of its samples.

    Whether they are synthetic follows from the network calls that a sample cost: no call, no
    synthesis; an unknown number leaves it open.
    """
    import bench
    from bench.runs.provenance import commit

    nfe = model.nfe(name)
    return {
        "Synthetic": "unknown" if nfe is None else str(nfe > 0).lower(),
        "Run": model.name,
        "Sampler": name,
        "Weights": model.weights,
        "Step": str(model.step),
        **({} if model.point is None else {"Best evaluation point": str(model.point)}),
        "Sampling seed": str(seed),
        "Software": f"gan-vs-diffusion {bench.__version__} {commit()}".strip(),
    }


if __name__ == "__main__":
    with said_in_one_line("bench.export", "give the same command again"):
        sys.exit(main(sys.argv[1:]))
