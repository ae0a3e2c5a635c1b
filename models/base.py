"""The contract between generative models and the benchmark: phases and samplers.

A generative model is two tables. Its phases say how it is trained: the trainer minimises each
phase's loss over that phase's module. Its samplers say how it generates samples and at what cost:
the evaluator scores every one. Neither asks which family the model belongs to.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor, nn

from models.exports import DiffusersPipeline, NetworkCall, NoCounterpartError


@dataclass(frozen=True)
class Batch:
    """Real data shown to a phase.

    Attributes:
        x: samples, (B, *data_shape) float32 in [-1, 1].
        y: class labels, (B,) int64 in [0, K), or None for unlabelled data.
    """

    x: Tensor
    y: Tensor | None = None


class Labelled(Protocol):
    """Returns n labelled training samples, see `DataSpec.labelled`."""

    def __call__(self, n: int, /, *, uniform: bool) -> Batch: ...  # noqa: D102


class ShapeError(ValueError):
    """A network cannot be built for samples of a shape."""


class LabelsError(ValueError):
    """A model needs class labels, and the data has none."""


@dataclass(frozen=True)
class DataIdentity:
    """Which data it is, to compare with that of recorded runs.

    Attributes:
        name: of the data set.
        hash: of the content of both splits.
        train_images: how many of the training images models are trained on; None for all.
    """

    name: str
    hash: str
    train_images: int | None = None


@dataclass(frozen=True)
class DataSpec:
    """The data that a model is built for, as far as models may know it.

    Attributes:
        shape: shape of one sample, (C, H, W) of images, (C, L) of signals, (D,) of points.
        num_classes: K, the number of classes; 0 for unlabelled data.
        held_out: maps indices, (B,) int64 in [0, held_out_size), to samples that no model is
            trained on, (B, *shape) float32 in [-1, 1].
        held_out_size: number of such samples.
        labelled: returns n fixed training samples with their labels: equally many per class if
            `uniform`, otherwise with the class frequencies of the data and at least one per class.
            Raises ValueError if there are not enough. None for unlabelled data.
        to_unit: maps samples in the data's own units, (B, *shape), to those of models; None where
            both are the same.
        identity: which data it is; None where that is not known or does not matter.
        held_out_labels: maps indices of held-out samples, (B,) int64, to their classes, (B,) int64;
            None for unlabelled data.
    """

    shape: tuple[int, ...]
    num_classes: int
    held_out: Callable[[Tensor], Tensor]
    held_out_size: int
    labelled: Labelled | None = None
    to_unit: Callable[[Tensor], Tensor] | None = None
    identity: DataIdentity | None = None
    held_out_labels: Callable[[Tensor], Tensor] | None = None

    def require_labels(self, what: str) -> None:
        """Raise LabelsError if there are no labels and `what`, named in the message, needs them."""
        if self.num_classes < 1:
            raise LabelsError(
                f"{what} needs class labels, and this data has none: choose an unconditional "
                "model, or give labels: of images one sub-folder per class, of signals y"
            )


@dataclass(frozen=True)
class Phase:
    """One optimisation problem inside a training step.

    Attributes:
        name: "discriminator", "generator", "denoiser", …: the key of its optimizer.
        module: the only parameters it updates; the trainer freezes all others.
        loss: maps a batch to named scalars; "loss" is minimised, every key is logged as
            <phase>/<key>. Random numbers come from torch's global generator. Batches can be divided
            (`trainer.accumulate`) if "loss" is a mean over samples.
        repeats: updates per step, each on a fresh batch (critic steps).
        span: (start, end), the part of the budget, in [0, 1], during which it is trained: a phase
            that depends on the result of another starts where that one ends; (0, 0) for never.
        after_update: called once after every update of this phase, without gradients: a target
            network or a teacher follows here. What it changes must be buffers or modules of the
            model, so that checkpoints hold it, and must follow from the model's state alone, so
            that resumed runs and all ranks agree. Its operations are not counted as FLOPs.
        every: it is trained in every such step of the run only: a penalty that is computed rarely
            and weighted accordingly ("lazy" regularisation, Karras et al. 2020). The first phase of
            a model is trained in every step.
        optimizer: name of the phase of the same module whose optimizer updates it; None for an
            optimizer of its own.
        summed: buffers that the loss overwrites with sums over its batch, such as a number of
            samples; the trainer adds them up over all processes before `after_update`.
        pairwise: whether the loss compares samples of a batch with each other, so that its FLOPs
            grow with the square of their number, beside what grows with the number.
    """

    name: str
    module: nn.Module
    loss: Callable[[Batch], dict[str, Tensor]]
    repeats: int = 1
    span: tuple[float, float] = (0.0, 1.0)
    after_update: Callable[[], None] | None = None
    every: int = 1
    optimizer: str | None = None
    summed: tuple[Tensor, ...] = ()
    pairwise: bool = False

    @property
    def updated_by(self) -> str:
        """Name of the optimizer: its own, or that of another phase."""
        return self.optimizer or self.name

    def active(self, progress: float) -> bool:
        """Whether it is trained at this share of the budget, in [0, 1)."""
        return self.span[0] <= progress < self.span[1]


Trajectory = Callable[[int, Generator, Tensor | None], Sequence[Tensor]]
"""(n, generator, y) -> intermediate states of n samples, each (n, *data_shape)."""


@dataclass(frozen=True)
class Sampler:
    """One way of sampling from a model, with its declared cost.

    Attributes:
        generate: (n, generator, y) -> (n, *data_shape) float32 in [-1, 1]. Every random number
            comes from the generator, which lives on the model's device; y is (n,) int64 or None. A
            class-conditional model without y samples uniform classes from the generator.
        calls: number of forward calls of each network per call of generate, for any n; empty if
            there are none, None if unknown (samples of other systems).
        limit: maximum number of samples; None for unlimited.
        ordered: whether samples come from a stored list in its own order, so that only all of them
            are a fair sample.
        classes: K if samples have the requested class y; 0 if y has no effect.
        trajectory: like generate, but returns at most ten intermediate states for display; the last
            is the result of generate. None if there are no intermediate states.
        labels: returns the true classes of all samples that generate has returned so far, (N,)
            int64, in order; None where nobody knows them, as of a model's own samples.
    """

    generate: Callable[[int, Generator, Tensor | None], Tensor]
    calls: Mapping[nn.Module, int] | None
    limit: int | None = None
    ordered: bool = False
    classes: int = 0
    trajectory: Trajectory | None = None
    labels: Callable[[], Tensor] | None = None

    @property
    def nfe(self) -> int | None:
        """Network evaluations per sample; None if unknown."""
        return None if self.calls is None else sum(self.calls.values())


class GenerativeModel(nn.Module, ABC):
    """A module that the shared trainer can train and the shared evaluator can score.

    Subclasses take a `DataSpec` as first constructor argument; their YAML supplies the rest.

    Attributes:
        data_shape: shape of one sample.
        progress: 0-dim float64 buffer in [0, 1], the share of the training budget spent. The
            trainer sets it before every step. Whatever changes during training is a function of it
            alone, so that a resumed run continues exactly.
        trained: whether its weights were loaded and are not trained further.
        trains_on: names of the evaluation's extractors whose features its losses use. These may not
            score it: a model must not be trained on its judge.
    """

    progress: Tensor
    trained: bool = False
    trains_on: Sequence[str] = ()

    def __init__(self, data_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.data_shape = tuple(data_shape)
        self.register_buffer("progress", torch.zeros((), dtype=torch.float64))

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Phases of one training step, in order; empty for a model that is not trained.

        A property, so that a deep copy of the model binds to its own modules.
        """
        return ()

    @property
    @abstractmethod
    def samplers(self) -> Mapping[str, Sampler]:
        """Samplers by name, such as "generator" or "ddim-50"; a property, as `phases` is."""

    def further_sampler(self, name: str) -> Sampler | None:
        """The sampler that a name describes, though `samplers` does not list it; None if none.

        Raises:
            ValueError: the model does not have what this sampler needs.
        """
        return None

    @property
    def depends_on_seed(self) -> bool:
        """Whether runs of several seeds tell more than one: not for data that is only looked up."""
        return True

    @property
    def stage(self) -> int:
        """The stage of training at `progress`: within a stage all steps have equal cost.

        Reading it may wait for the device, so only models with several stages read `progress`.
        """
        return 0

    @property
    def batch_unit(self) -> int:
        """On how many samples, and on twice as many, the FLOPs of a step are counted.

        They are extrapolated to the batch. A model that treats a share of a batch in another way
        takes a number of which that share is whole.
        """
        return 2

    def held_out_scores(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """Scores of the model on held-out data, such as likelihood or accuracy.

        Args:
            batch: held-out samples, with labels if the data has them.
            generator: source of every random number, on the model's device.

        Returns:
            One value per sample, (B,), by column: "accuracy", 1 if classified correctly,
            "accuracy_supervised", that of a network trained on the labels alone;
            "bits_per_dim", a bound on the negative log-likelihood, and where it is a sum of these
            its parts "bits_prior", "bits_kl" and "bits_reconstruction". Empty for a model that only
            generates.
        """
        return {}

    def real_logits(self, batch: Batch) -> Tensor | None:
        """How real a discriminator finds each sample, if the model has one that judges data.

        Args:
            batch: real samples, with labels if the data has them.

        Returns:
            Logits, (B,); None for a model without a discriminator of data.
        """
        return None

    @property
    def network_calls(self) -> Mapping[str, NetworkCall]:
        """What other software can compute of it, by name, such as "generator" or "denoiser".

        These are the calls that its samplers make, in eval mode; empty for a model that has none,
        or does not say.
        """
        return {}

    def for_diffusers(self) -> DiffusersPipeline:
        """The pipeline of diffusers that samples as it does.

        Raises:
            NoCounterpartError: there is none; the message says what differs, as the end of a
                sentence.
        """
        raise NoCounterpartError(f"diffusers has no pipeline for {type(self).__name__}")

    def held_out_curves(
        self, batch: Batch, generator: Generator
    ) -> dict[str, list[tuple[float, Tensor]]]:
        """Curves of the model on held-out data, such as error against noise level.

        Args:
            batch: held-out samples, with labels if the data has them.
            generator: source of every random number, on the model's device.

        Returns:
            Points of named curves: the position along the curve, and one value per sample, (B,).
            Empty for a model that only generates.
        """
        return {}
