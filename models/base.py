"""The contract between generative models and the benchmark: phases to train, samplers to draw.

A generative model is two tables. Its phases say how it is trained: the trainer minimises each
phase's loss over that phase's module. Its samplers say how it is drawn and at what cost: the
evaluator scores every one. Neither ever asks which family the model belongs to.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn


@dataclass(frozen=True)
class DataSpec:
    """What a model may know about the data it is built for.

    Attributes:
        shape: shape of one sample, (C, H, W) for images, (D,) for points.
        num_classes: K, the number of classes; 0 for unlabelled data.
        held_out: maps indices, (B,) int64 in [0, held_out_size), to samples that no model is
            trained on, (B, *shape) float32 in [-1, 1].
        held_out_size: number of such samples.
    """

    shape: tuple[int, ...]
    num_classes: int
    held_out: Callable[[Tensor], Tensor]
    held_out_size: int


@dataclass(frozen=True)
class Batch:
    """Real data shown to a phase.

    Attributes:
        x: samples, (B, *data_shape) float32 in [-1, 1].
        y: class labels, (B,) int64 in [0, K), or None for unlabelled data.
    """

    x: Tensor
    y: Tensor | None = None


@dataclass(frozen=True)
class Phase:
    """One optimisation problem inside a training step.

    Attributes:
        name: "discriminator", "generator", "denoiser", …: the key of its optimizer.
        module: the only parameters it updates; the trainer freezes all others.
        loss: maps a batch to named scalars; "loss" is minimised, every key is logged as
            <phase>/<key>. Random numbers come from torch's global generator.
        repeats: updates per step, each on a fresh batch (critic steps).
    """

    name: str
    module: nn.Module
    loss: Callable[[Batch], dict[str, Tensor]]
    repeats: int = 1


@dataclass(frozen=True)
class Sampler:
    """One way of drawing from a model, with its declared cost.

    Attributes:
        draw: (n, generator, y) -> (n, *data_shape) float32 in [-1, 1]. Every random number comes
            from the generator, which lives on the model's device; y is (n,) int64 or None.
        nfe: network evaluations per sample; None if unknown (samples that were drawn elsewhere).
        network: the module whose forward calls nfe counts; None if drawing calls no network.
        limit: most samples that can be drawn; None for as many as one likes.
        ordered: whether draws go through a stored list in its own order, so that only all of them
            are a fair sample.
    """

    draw: Callable[[int, Generator, Tensor | None], Tensor]
    nfe: int | None
    network: nn.Module | None = None
    limit: int | None = None
    ordered: bool = False


class GenerativeModel(nn.Module, ABC):
    """A module that the shared trainer can train and the shared evaluator can score.

    Subclasses take a `DataSpec` as first constructor argument; their YAML supplies the rest.

    Attributes:
        data_shape: shape of one sample.
        progress: 0-dim float64 buffer in [0, 1], the share of the training budget spent. The
            trainer sets it before every step. Whatever changes during training is a function of it
            alone, so that a resumed run continues exactly.
    """

    progress: Tensor

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
        """Samplers by name, such as "generator" or "ddim-50"; a property for the same reason."""
