"""Deterministic training of the domain classifier with a one-cycle schedule."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from bench.data.dataset import Split
from bench.evaluation.extractors.classifier import (
    DomainClassifier,
    checked_labels,
    initialised,
    nominal_pixels,
)
from bench.runtime.progress import shown_progress


@dataclass(frozen=True)
class ClassifierRecipe:
    """Training recipe of a domain classifier.

    Labels are not smoothed: smoothing erases differences within a class (Müller et al. 2019), which
    the metrics need.

    Attributes:
        epochs: passes over the training split.
        batch_size: images per update; the last incomplete batch of an epoch is dropped.
        peak_lr: largest learning rate of the one-cycle schedule.
        weight_decay: L2 penalty on convolution and linear weights.
        width: channels of the first layer.
        flip: mirror half of the images.
        shift: largest shift in pixels; borders are filled by reflection.
    """

    epochs: int = 10
    batch_size: int = 256
    peak_lr: float = 0.2
    weight_decay: float = 5e-4
    width: int = 16
    flip: bool = False
    shift: int = 2


FEW_PIXELS = 48_000_000
"""Pixels of a training that takes a minute or two: 48,000 images of 32 x 32."""


def default_recipe(shape: tuple[int, ...], images: int, *, flip: bool) -> ClassifierRecipe:
    """Choose a recipe by the size of the data, with one rule for every dataset.

    About 480,000 images are shown in all, but at most in 20 epochs; small sets get more of these,
    up to 100, as long as all that is shown has at most `FEW_PIXELS`. Colour gets twice the width.

    Args:
        shape: (C, H, W) of images, (C, L) of signals.
        images: number of training images.
        flip: whether mirrored images belong to the data.
    """
    batch_size = 256 if images >= 10_000 else 64
    n = max(images, 1)
    quick = FEW_PIXELS / (n * nominal_pixels(shape))  # epochs
    return ClassifierRecipe(
        epochs=min(100, math.ceil(max(min(20, 480_000 / n), quick))),
        batch_size=batch_size,
        peak_lr=0.2 * batch_size / 256,
        width=32 if shape[0] == 3 else 16,
        flip=flip,
        shift=min(shape[1:]) // 8,
    )


def former_recipe(recipe: ClassifierRecipe, images: int) -> ClassifierRecipe:
    """What `default_recipe` chose for this number of images until small sets got fewer epochs."""
    return replace(recipe, epochs=min(100, math.ceil(480_000 / max(images, 1))))


def train_classifier(
    train: Split,
    num_classes: int,
    *,
    seed: int = 0,
    recipe: ClassifierRecipe = ClassifierRecipe(),
    device: torch.device | str = "cpu",
    on_epoch: Callable[[int, DomainClassifier], None] | None = None,
) -> DomainClassifier:
    """Train a domain classifier: SGD with Nesterov momentum, a one-cycle rate, bfloat16 products.

    The result is reproducible bit for bit on one CPU with a given number of threads, and the global
    random state is unchanged.

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
    images, labels = train.images, checked_labels(train, num_classes)
    classifier = initialised(images.shape[1:], num_classes, recipe.width, seed).to(device)
    classifier.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    generator = Generator().manual_seed(seed)
    batch_size = min(recipe.batch_size, len(images))
    batches = len(images) // batch_size
    optimizer = _optimizer(classifier, recipe)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _one_cycle(step / (recipe.epochs * batches))
    )
    with shown_progress("training the domain classifier, epoch", recipe.epochs) as advance:
        for epoch in range(1, recipe.epochs + 1):
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
            advance(1)
    return _rounded(classifier.cpu()).eval()


def augment(images: Tensor, generator: Generator, recipe: ClassifierRecipe) -> Tensor:
    """Shift and mirror samples, each independently.

    Args:
        images: a batch on the CPU, images (B, C, H, W) uint8 or signals (B, C, L) float32, which
            are shifted along their length.
        generator: source of all random numbers.
        recipe: which augmentations, and how strong.

    Returns:
        The augmented batch, same shape and type.
    """
    if images.ndim == 3:
        return augment(images.unsqueeze(2), generator, recipe).squeeze(2)
    b, _, h, w = images.shape
    shifts = torch.randint(-recipe.shift, recipe.shift + 1, (2, b, 1), generator=generator)
    rows, columns = (
        _reflect(torch.arange(h) + shifts[0], h) if h > 1 else torch.zeros_like(shifts[0]),
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


def _optimizer(classifier: DomainClassifier, recipe: ClassifierRecipe) -> torch.optim.SGD:
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
