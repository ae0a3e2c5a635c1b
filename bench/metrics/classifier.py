"""The domain classifier: a small network trained on a dataset, whose features score samples."""

import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from safetensors import safe_open
from safetensors.torch import save
from torch import Generator, Tensor, nn

from bench.data.dataset import Split

FEATURES = 64
"""D, the width of the penultimate layer: below every dataset's number of evaluation samples (digits
has 700), so that the covariances of FID have full rank."""

MIN_SIDE = 8
NOMINAL_SIDE = 32


@dataclass(frozen=True)
class Recipe:
    """How a domain classifier is trained.

    Labels are not smoothed: smoothing erases differences within a class (Müller et al. 2019), which
    is what the metrics must see.

    Attributes:
        epochs: passes over the training split.
        batch_size: images per update; the last incomplete batch of an epoch is dropped.
        peak_lr: largest learning rate of the one-cycle schedule.
        weight_decay: L2 penalty on convolution and linear weights.
        width: channels of the first layer.
        flip: mirror half of the images.
        shift: largest shift in pixels, the border filled by reflection.
    """

    epochs: int = 10
    batch_size: int = 256
    peak_lr: float = 0.2
    weight_decay: float = 5e-4
    width: int = 16
    flip: bool = False
    shift: int = 2


class DomainClassifier(nn.Module):
    """A small residual network (He et al. 2016) for images of any size from 8 × 8.

    Images larger than 63 pixels are first halved to about 32. The penultimate features are the
    spatial means of D non-negative maps, as in Inception.

    Args:
        shape: (C, H, W) of the images.
        num_classes: K.
        width: channels of the first layer; the stages have 2 and 4 times as many.

    Raises:
        ValueError: sides below 8 or fewer than two classes.
    """

    def __init__(self, shape: tuple[int, ...], num_classes: int, width: int = 32) -> None:
        super().__init__()
        if len(shape) != 3 or min(shape[1:]) < MIN_SIDE:
            raise ValueError(
                f"shape is {tuple(shape)}; must be (C, H, W), H and W at least {MIN_SIDE}"
            )
        if num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}; must be at least 2")
        self.shape = tuple(shape)
        self.num_classes = num_classes
        self.width = width
        halvings = max(0, int(math.log2(min(shape[1:]) / NOMINAL_SIDE)))
        self.trunk = nn.Sequential(
            _convolution(shape[0], width),
            *(_convolution(width, width, stride=2) for _ in range(halvings)),
            _convolution(width, 2 * width, stride=2),
            _Residual(2 * width),
            _convolution(2 * width, 4 * width, stride=2),
            _Residual(4 * width),
            _convolution(4 * width, FEATURES, kernel=1),
        )
        self.head = nn.Linear(FEATURES, num_classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Classify images (B, C, H, W) uint8.

        Returns:
            Penultimate features (B, D) and logits (B, K).

        Raises:
            ValueError: images of another shape or type.
        """
        if images.dtype != torch.uint8 or tuple(images.shape[1:]) != self.shape:
            raise ValueError(
                f"images are {images.dtype} of shape {tuple(images.shape[1:])}; "
                f"must be torch.uint8 of shape {self.shape}"
            )
        x = images.float().div_(127.5).sub_(1)  # (B, C, H, W) in [-1, 1]
        maps = self.trunk(x.contiguous(memory_format=torch.channels_last))  # (B, D, H/4, W/4)
        features = maps.float().mean((2, 3))  # (B, D)
        return features, self.head(features)  # (B, K)


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(channels, channels), _convolution(channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def _convolution(
    channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1
) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def default_recipe(shape: tuple[int, ...], images: int, *, flip: bool) -> Recipe:
    """Choose a recipe by the size of the data: every dataset gets the one that this gives.

    About 480,000 images are shown in all, but at most 100 epochs; colour gets twice the width.

    Args:
        shape: (C, H, W).
        images: number of training images.
        flip: whether mirrored images belong to the data.
    """
    batch_size = 256 if images >= 10_000 else 64
    return Recipe(
        epochs=min(100, math.ceil(480_000 / max(images, 1))),
        batch_size=batch_size,
        peak_lr=0.2 * batch_size / 256,
        width=32 if shape[0] == 3 else 16,
        flip=flip,
        shift=min(shape[1:]) // 8,
    )


def train_classifier(
    train: Split,
    num_classes: int,
    *,
    seed: int = 0,
    recipe: Recipe = Recipe(),
    device: torch.device | str = "cpu",
    on_epoch: Callable[[int, DomainClassifier], None] | None = None,
) -> DomainClassifier:
    """Train a domain classifier: SGD with Nesterov momentum, a one-cycle rate, bfloat16 products.

    The result is the same bit for bit on the same CPU with the same number of threads, and the
    global random state is left untouched.

    Args:
        train: labelled images.
        num_classes: K; labels lie in [0, K).
        seed: of the initial weights, the order and the augmentation.
        recipe: how to train.
        device: where to train.
        on_epoch: called with the epoch, from 1, and the classifier in eval mode.

    Returns:
        The classifier on the CPU in eval mode, every weight rounded to half precision, so that
        storing it as float16 changes nothing.

    Raises:
        ValueError: unlabelled data, labels outside [0, K), or no images.
    """
    images, labels = train.images, _checked_labels(train, num_classes)
    classifier = _initialised(images.shape[1:], num_classes, recipe.width, seed).to(device)
    classifier.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    generator = Generator().manual_seed(seed)
    batch_size = min(recipe.batch_size, len(images))
    batches = len(images) // batch_size
    optimizer = _optimizer(classifier, recipe)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _one_cycle(step / (recipe.epochs * batches))
    )
    console = Console(stderr=True)
    for epoch in track(
        range(1, recipe.epochs + 1),
        description="Training the domain classifier",
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ):
        classifier.train()
        order = torch.randperm(len(images), generator=generator)
        for index in order[: batches * batch_size].view(batches, batch_size):
            x = augment(torch.from_numpy(images[index.numpy()]), generator, recipe).to(device)
            with torch.autocast(torch.device(device).type, torch.bfloat16):
                loss = F.cross_entropy(classifier(x)[1], labels[index].to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if on_epoch is not None:
            on_epoch(epoch, classifier.eval())
    return _rounded(classifier.cpu()).eval()


def augment(images: Tensor, generator: Generator, recipe: Recipe) -> Tensor:
    """Shift and mirror images (B, C, H, W) uint8, each independently.

    Args:
        images: a batch on the CPU.
        generator: source of all random numbers.
        recipe: which augmentations, and how strong.

    Returns:
        The augmented batch, same shape and type.
    """
    b, _, h, w = images.shape
    shifts = torch.randint(-recipe.shift, recipe.shift + 1, (2, b, 1), generator=generator)
    rows, columns = (
        _reflect(torch.arange(h) + shifts[0], h),
        _reflect(torch.arange(w) + shifts[1], w),
    )
    if recipe.flip:
        mirrored = torch.rand(b, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)  # (B, W)
    if recipe.shift or recipe.flip:
        first = torch.arange(b)[:, None, None]
        images = images[first, :, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
        images = images.permute(0, 3, 1, 2)  # (B, C, H, W)
    return images


@torch.inference_mode()
def accuracy(classifier: DomainClassifier, test: Split, batch_size: int = 500) -> float:
    """Share of a labelled split that the classifier names correctly, in [0, 1], in float32."""
    labels = _checked_labels(test, classifier.num_classes)
    device = next(classifier.parameters()).device
    classifier.eval()
    correct = 0
    for start in range(0, len(labels), batch_size):
        images = torch.from_numpy(np.array(test.images[start : start + batch_size]))
        predicted = classifier(images.to(device))[1].argmax(1).cpu()
        correct += int((predicted == labels[start : start + batch_size]).sum())
    return correct / len(labels)


def weights_hash(module: nn.Module) -> str:
    """First 16 hex digits of the SHA-256 of a module's parameters and buffers, names included."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def save_classifier(path: Path, classifier: DomainClassifier, metadata: dict[str, str]) -> None:
    """Write a classifier's weights as float16 safetensors, atomically.

    Args:
        path: the file; its directory is made.
        classifier: its shape, classes and width are added to the metadata.
        metadata: where the weights come from.
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
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_bytes(save(tensors, metadata=metadata | built))
    partial.replace(path)


def load_classifier(path: Path) -> tuple[DomainClassifier, dict[str, str]]:
    """Read a classifier written by `save_classifier`, with its metadata; float32, in eval mode."""
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    shape = tuple(int(side) for side in metadata["shape"].split(","))
    classifier = _initialised(shape, int(metadata["num_classes"]), int(metadata["width"]), seed=0)
    classifier.load_state_dict(classifier.state_dict() | tensors)
    classifier.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return classifier.eval(), metadata


def _initialised(
    shape: tuple[int, ...], num_classes: int, width: int, seed: int
) -> DomainClassifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DomainClassifier(shape, num_classes, width)


def _checked_labels(split: Split, num_classes: int) -> Tensor:
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


def _optimizer(classifier: DomainClassifier, recipe: Recipe) -> torch.optim.SGD:
    weights = [p for p in classifier.parameters() if p.ndim > 1]
    others = [p for p in classifier.parameters() if p.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=recipe.peak_lr, momentum=0.9, nesterov=True)


def _one_cycle(progress: float, warm: float = 0.2) -> float:
    """Learning rate relative to its peak: up linearly, then down linearly to zero (Smith 2018)."""
    return min(max(progress, 0.01) / warm, (1 - progress) / (1 - warm))


def _reflect(index: Tensor, size: int) -> Tensor:
    return (size - 1) - ((size - 1) - index.abs()).abs()


def _rounded(classifier: DomainClassifier) -> DomainClassifier:
    with torch.no_grad():
        for tensor in classifier.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half())
    return classifier
