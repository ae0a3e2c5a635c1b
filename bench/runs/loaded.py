"""The model of a recorded run as an object to sample from: `bench.load`."""

import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import SupportsIndex

import numpy as np
import torch
from torch import Tensor

from bench.config import MAX_SEED
from bench.data.dataset import Kind, kind_of
from bench.errors import nearest_of, one_sentence
from bench.evaluation.sampling import SampleBatch, SamplesNotFiniteError, batch_sizes, generate
from bench.runs.reload import Keep, RecordedRun, rebuild
from bench.runs.trust import trusting
from bench.runtime.isolation import Evaluated, as_recorded
from models.base import GenerativeModel, Sampler

Labels = SupportsIndex | Sequence[int] | np.ndarray | Tensor
"""One class for all samples, or the class of every sample."""


def load(
    run: str | PathLike[str],
    device: str = "auto",
    *,
    trust: Sequence[str] = (),
    unfinished: bool = False,
    keep: Keep = "last",
    data_root: str | PathLike[str] | None = None,
) -> "LoadedModel":
    """Load the model of a recorded run, with weights that were scored.

    The data set need not be there, unless the model itself returns samples of it. Nothing of the
    process changes: its random state, number of threads, flags, modes or working directory.

        >>> from bench import load
        >>> model = load("results/runs/digits/ddpm_small/default/seed=0", device="cpu")
        >>> model
        <digits/ddpm_small/default/seed=0: 8x8x1 images, samplers dpmpp-10; ema weights of step 8, on cpu>
        >>> images = model.sample(64, seed=0)
        >>> images.shape, images.dtype
        ((64, 8, 8, 1), dtype('uint8'))

    Args:
        run: the run directory.
        device: auto, cpu, cuda or cuda:N.
        trust: packages of your own whose code the run may call; otherwise only what
            conf/constructors.yaml lists is called, so that a run may come from anybody.
        unfinished: whether a run that has not finished, or has failed, is taken as it is in its
            last checkpoint.
        keep: "last" for the weights at the end of training; "best", of a run with
            `trainer.keep=best`, for those of the evaluation point with the lowest FID on held-out
            data.
        data_root: where data sets lie, for models that return samples of them.

    Raises:
        RunError: in one sentence: it is no run, has not finished, is damaged, calls what is not
            trusted, or has no such device.
    """  # noqa: E501
    with one_sentence():
        return load_for(
            Path(run).expanduser(),
            device,
            None if data_root is None else Path(data_root).expanduser(),
            trust=(trust,) if isinstance(trust, str) else tuple(trust),
            trust_option='trust=("{}",)',
            unfinished_option=None if unfinished else "unfinished=True",
            keep=keep,
        )


def load_for(
    run: Path,
    device: str,
    data_root: Path | None,
    *,
    trust: Sequence[str],
    trust_option: str,
    unfinished_option: str | None,
    keep: Keep,
) -> "LoadedModel":
    """As `load`, for a command with options of its own.

    Args:
        run: the run directory.
        device: see `load`, as is data_root.
        data_root: see device.
        trust: names of packages.
        trust_option: how the user trusts a package, with {} for its name.
        unfinished_option: how the user asks for a run that has not finished, if they did not; None
            to take it.
        keep: see `load`.

    Raises:
        ValueError, OSError: as `rebuild` and `trusting` raise them.
    """
    with trusting(trust, trust_option), as_recorded(torch.device("cpu"), None):
        return LoadedModel(rebuild(run, device, data_root, unfinished=unfinished_option, keep=keep))


class LoadedModel:
    """The model of a recorded run.

    Args:
        run: the run, with its model.

    Attributes:
        name: <dataset>/<model>/<variant>/seed=<seed>.
        module: the model itself, a `torch.nn.Module` in eval mode, to train on or to look into;
            samples follow its weights.
        shape: shape of one sample: (H, W, C), (C, L) of signals or (D,) of points.
        data: what the run recorded of its data.
        kind: "images", "signals" or "points".
        weights: "ema" if the weights are averaged over training, otherwise "raw".
        step: training step of the weights.
        point: their evaluation point, where the best ones were asked for; else None.
    """

    def __init__(self, run: RecordedRun) -> None:
        self.name = run.name
        self.module: GenerativeModel = run.model.eval()
        self.data = run.data
        shape = run.data.shape
        self.kind: Kind = kind_of(shape)
        self.shape = (*shape[1:], shape[0]) if self.kind == "images" else shape
        self.weights = run.weights
        self.step = run.step
        self.point = run.point
        self._run = run
        self._evaluated = Evaluated(self.module)
        self._frequencies = run.frequencies

    @property
    def samplers(self) -> tuple[str, ...]:
        """Names of the samplers that were scored; the first is the default.

        Diffusion models and flows take any other name of a sampler as well, such as "ddim-50".
        """
        return tuple(self.module.samplers)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that can be asked for, by label; empty if none can."""
        takes_labels = any(sampler.classes for sampler in self.module.samplers.values())
        return self.data.classes if takes_labels else ()

    @property
    def device(self) -> torch.device:
        """Where samples are computed."""
        return self.module.progress.device

    @property
    def scored(self) -> int:
        """How many samples the run's evaluator scored."""
        return self._run.options.samples

    @property
    def seed(self) -> int:
        """Seed of the samples that the evaluator scored, the default."""
        return self._run.options.seed

    def nfe(self, sampler: str | None = None) -> int | None:
        """Network evaluations of a sampler per sample; None if unknown. Args as `sample`."""
        return self._sampler(sampler)[1].nfe

    def __repr__(self) -> str:
        """What it is, in one line."""
        size = "x".join(map(str, self.shape))
        what = f"{size} {self.kind}" + (f" of {len(self.classes)} classes" if self.classes else "")
        best = "" if self.point is None else f", the best evaluation point ({self.point})"
        return (
            f"<{self.name}: {what}, samplers {', '.join(self.samplers)}; {self.weights} weights of "
            f"step {self.step}{best}, on {self.device}>"
        )

    def sample(
        self,
        n: int | None = None,
        sampler: str | None = None,
        *,
        seed: int | None = None,
        labels: Labels | None = None,
        batch_size: int | None = None,
    ) -> np.ndarray:
        """Generate samples; equal arguments give equal samples.

        Without arguments they are those that the run's evaluator scored, on the same kind of device
        bit for bit, and so are the first ones of a larger n. Fewer are generated in batches of
        their own, which gives other samples.

        Args:
            n: number of samples, N; None for as many as were scored.
            sampler: one of `samplers`, or another that the model takes; None for the first.
            seed: in [0, 2^63); None for that of the run's evaluator.
            labels: of a class-conditional model: one class for all samples or N classes, in [0, K);
                None for random ones, as often as in the evaluation.
            batch_size: samples generated at a time, which bounds the memory; None for that of the
                run's evaluator. Other batches give other samples.

        Returns:
            Images (N, H, W, C) uint8, points (N, D) float32, or signals (N, C, L) float64 in their
            own units.

        Raises:
            ValueError: an argument is out of range, or the samples are not finite.
        """
        total = self.scored if n is None else _whole("n", n)
        given = {"seed": seed, "labels": labels, "batch_size": batch_size}
        batches = self.batches(total, sampler, **given, whole=False)
        first = next(batches)
        if len(first) == total:
            return first
        samples = np.empty((total, *first.shape[1:]), first.dtype)
        samples[: (done := len(first))] = first
        for batch in batches:
            samples[done : (done := done + len(batch))] = batch
        return samples

    def batches(
        self,
        n: int | None = None,
        sampler: str | None = None,
        *,
        seed: int | None = None,
        labels: Labels | None = None,
        batch_size: int | None = None,
        whole: bool = True,
    ) -> Iterator[np.ndarray]:
        """Generate samples a batch at a time, so that any number of them needs little memory.

        Args and errors are those of `sample`; arguments are checked before the first batch.

        Args:
            n: see `sample`, as are the next ones.
            sampler: see n.
            seed: see n.
            labels: see n.
            batch_size: see n.
            whole: whether fewer samples than were scored are the first of these, for which the last
                batch is generated as a whole.

        Returns:
            An iterator over the next samples, as `sample` returns them.
        """
        options = self._run.options
        total = self.scored if n is None else _whole("n", n)
        name, chosen = self._sampler(sampler)
        if chosen.limit is not None and total > chosen.limit:
            raise ValueError(
                f"{name} of {self.name} has {chosen.limit} samples, {total} were asked for"
            )
        size = options.batch_size if batch_size is None else _whole("batch_size", batch_size)
        given = None if labels is None else _labels(labels, total, chosen.classes, self.name)
        as_scored = (whole or total >= self.scored) and labels is None
        made = generate(
            name,
            chosen,
            batch_sizes(total, self.scored if as_scored else total, size),
            frequencies=self._frequencies,
            labels=given,
            shape=self.data.shape,
            seed=self.seed if seed is None else _seed(seed),
            precision=options.precision,
            device=self.device,
        )
        return self._in_own_units(made, total)

    def _in_own_units(self, made: Iterator[SampleBatch], missing: int) -> Iterator[np.ndarray]:
        """As many samples as are missing, in the form of `sample`.

        Nothing that is set for their computation is set while a batch is handed out.
        """
        scale = self.data.scale
        while missing:
            try:
                with self._evaluating():
                    batch = next(made).stored[:missing].numpy()
            except SamplesNotFiniteError as error:
                raise ValueError(f"{self.name}: {error}") from error
            missing -= len(batch)
            batch = batch if scale is None else scale.to_own(batch)
            yield batch.transpose(0, 2, 3, 1) if self.kind == "images" else batch

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Compute as the run's evaluator does; afterwards everything is what it was."""
        threads = self._run.threads
        with as_recorded(self.device, threads), self._evaluated.evaluating():
            yield

    def _sampler(self, name: str | None) -> tuple[str, Sampler]:
        """The sampler named, or the first.

        Raises:
            ValueError: there is none of this name.
        """
        samplers = self.module.samplers
        name = next(iter(samplers)) if name is None else name
        if not isinstance(name, str):
            raise ValueError(
                f"sampler must be a name, such as {next(iter(samplers))}, got {name!r}"
            )
        refused = f"{name!r} is no sampler of {self.name}:"
        try:
            found = samplers.get(name) or self.module.further_sampler(name)
        except ValueError as error:
            raise ValueError(f"{refused} {str(error).removeprefix('samplers: ')}") from error
        if found is None:
            raise ValueError(f"{refused} {nearest_of(name, list(samplers))}")
        return name, found


def _whole(name: str, value: object, least: int = 1) -> int:
    """A whole number of at least `least`; ValueError naming the argument if it is none."""
    try:
        number = operator.index(value)  # pyright: ignore[reportArgumentType]
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def _seed(value: object) -> int:
    """A seed; ValueError if it is out of range."""
    number = _whole("seed", value, least=0)
    if number > MAX_SEED:
        raise ValueError(f"seed must be at most {MAX_SEED}, got {number}")
    return number


def _labels(labels: Labels, n: int, num_classes: int, name: str) -> Tensor:
    """One label per sample, (n,) int64.

    Args:
        labels: as `LoadedModel.sample` takes them.
        n: number of samples.
        num_classes: K of the sampler; 0 if it takes no labels.
        name: of the run, for messages.

    Raises:
        ValueError: the sampler takes none, or a label or their number is wrong.
    """
    if not num_classes:
        raise ValueError(f"{name} is not class-conditional: leave out labels")
    try:
        given = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    except ValueError:  # lists of different lengths
        given = np.empty(0)
    if given.dtype.kind not in "iu" or given.ndim > 1:
        raise ValueError(f"labels must be a whole number or a list of {n}, got {labels!r:.60}")
    if given.ndim and len(given) != n:
        raise ValueError(f"labels must be one class or {n}, one per sample, got {len(given)}")
    if wrong := [int(label) for label in given.flat if not 0 <= label < num_classes]:
        raise ValueError(
            f"labels must be in 0..{num_classes - 1}, the classes of {name}, got {wrong[0]}"
        )
    return torch.from_numpy(np.broadcast_to(given, (n,)).astype(np.int64))
