"""The domain classifier: a small network trained on a dataset, used as feature extractor."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.dataset import Split
from bench.data.pixels import to_network
from bench.evaluation.extractors.base import read_tensors, write_tensors
from bench.runtime.atomic_files import replacing

FEATURES = 64
"""D, the width of the penultimate layer: below the number of evaluation samples of every dataset
(digits has 700), so that the covariances of FID have full rank."""

MIN_SIDE = 8
NOMINAL_SIDE = 32


class DomainClassifier(nn.Module):
    """A small residual network (He et al. 2016) for images from 8 × 8 and signals of 8 values on.

    Samples larger than 63 pixels are first halved to about 32. The penultimate features are the
    spatial means of D non-negative maps, as in Inception. Signals are images of one row, along
    which all kernels extend.

    Args:
        shape: (C, H, W) of the images, or (C, L) of the signals.
        num_classes: K.
        width: channels of the first layer; the stages have 2 and 4 times as many.

    Raises:
        ValueError: sides below 8 or fewer than two classes.
    """

    def __init__(self, shape: tuple[int, ...], num_classes: int, width: int = 32) -> None:
        super().__init__()
        if len(shape) not in (2, 3) or min(shape[1:]) < MIN_SIDE:
            raise ValueError(
                f"shape is {tuple(shape)}; must be (C, H, W) or (C, L), sides at least {MIN_SIDE}"
            )
        if num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}; must be at least 2")
        self.shape = tuple(shape)
        self.num_classes = num_classes
        self.width = width
        halvings, convolution = _halvings(shape), partial(_convolution, signals=len(shape) == 2)
        self.trunk = nn.Sequential(
            convolution(shape[0], width),
            *(convolution(width, width, stride=2) for _ in range(halvings)),
            convolution(width, 2 * width, stride=2),
            _Residual(2 * width, convolution),
            convolution(2 * width, 4 * width, stride=2),
            _Residual(4 * width, convolution),
            convolution(4 * width, FEATURES, kernel=1),
        )
        self.head = nn.Linear(FEATURES, num_classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Classify images (B, C, H, W) uint8, or signals (B, C, L) float32.

        Returns:
            Penultimate features (B, D) and logits (B, K).

        Raises:
            ValueError: samples of another shape or type.
        """
        x = to_network(images, self.shape)  # (B, C, H, W) in [-1, 1]
        maps = self.trunk(x.contiguous(memory_format=torch.channels_last))  # (B, D, H/4, W/4)
        features = maps.float().mean((2, 3))  # (B, D)
        return features, self.head(features)  # (B, K)


def _halvings(shape: tuple[int, ...]) -> int:
    """How often samples of this shape are halved to sides of about 32 pixels."""
    return max(0, int(math.log2(min(shape[1:]) / NOMINAL_SIDE)))


def nominal_pixels(shape: tuple[int, ...]) -> int:
    """Pixels of a sample of this shape, (C, H, W) or (C, L), as most layers see it."""
    return math.prod(shape[1:]) // (2 ** len(shape[1:])) ** _halvings(shape)


class _Residual(nn.Module):
    def __init__(self, channels: int, convolution: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.body = nn.Sequential(convolution(channels, channels), convolution(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _convolution(
    channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1, *, signals: bool
) -> nn.Module:
    def along(side: int, beyond: int) -> tuple[int, int]:
        return (beyond if signals else side, side)

    sides = along(kernel, 1), along(stride, 1), along(kernel // 2, 0)
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, sides[0], sides[1], sides[2], bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


@torch.inference_mode()
def accuracy(classifier: DomainClassifier, test: Split, batch_size: int = 500) -> float:
    """Accuracy of the classifier on a labelled split, in [0, 1], computed in float32."""
    labels = checked_labels(test, classifier.num_classes)
    device = next(classifier.parameters()).device
    classifier.eval()
    correct = 0
    for start in range(0, len(labels), batch_size):
        images = torch.from_numpy(np.array(test.images[start : start + batch_size]))
        predicted = classifier(images.to(device))[1].argmax(1).cpu()
        correct += int((predicted == labels[start : start + batch_size]).sum())
    return correct / len(labels)


def save_classifier(path: Path, classifier: DomainClassifier, metadata: dict[str, str]) -> None:
    """Write a classifier's weights as float16 safetensors, atomically.

    Args:
        path: the file; its directory is created.
        classifier: its shape, classes and width are added to the metadata.
        metadata: origin of the weights.
    """
    tensors = {
        name: tensor.detach().cpu().half().contiguous()
        for name, tensor in classifier.state_dict().items()
        if tensor.is_floating_point()
    }
    built = {
        "shape": ",".join(map(str, classifier.shape)),
        "num_classes": str(classifier.num_classes),
        "width": str(classifier.width),
    }
    with replacing(path) as temporary:
        write_tensors(temporary, tensors, metadata | built)


def load_classifier(
    path: Path, *, unsigned: bool = True
) -> tuple[DomainClassifier, dict[str, str]]:
    """Read a classifier written by `save_classifier`, with its metadata; float32, in eval mode.

    Args:
        path: the file.
        unsigned: whether a file without a checksum, from an earlier version, is accepted.

    Raises:
        FileNotFoundError: there is none.
        DamagedTensorsError: it differs from what was written.
        KeyError, ValueError, RuntimeError: it contains something else.
    """
    tensors, metadata = read_tensors(path, unsigned=unsigned)
    tensors = {name: tensor.float() for name, tensor in tensors.items()}
    shape = tuple(int(side) for side in metadata["shape"].split(","))
    classifier = initialised(shape, int(metadata["num_classes"]), int(metadata["width"]), seed=0)
    classifier.load_state_dict(classifier.state_dict() | tensors)
    classifier.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return classifier.eval(), metadata


def initialised(
    shape: tuple[int, ...], num_classes: int, width: int, seed: int
) -> DomainClassifier:
    """A classifier with initial weights from a seed; the global random state is unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DomainClassifier(shape, num_classes, width)


def checked_labels(split: Split, num_classes: int) -> Tensor:
    """The labels, (N,) int64.

    Raises:
        ValueError: there are none, not one per image, or some lie outside [0, num_classes).
    """
    if split.labels is None:
        raise ValueError("split has no labels; a domain classifier needs labelled data")
    labels = torch.from_numpy(np.array(split.labels, dtype=np.int64))
    if len(labels) == 0 or len(labels) != len(split.images):
        raise ValueError(f"split has {len(split.images)} images and {len(labels)} labels")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"labels span {labels.min()}..{labels.max()}; must lie in 0..{num_classes - 1}"
        )
    return labels
