"""Whether training can go on with a larger budget: nothing in it is a function of the budget."""

from copy import deepcopy

import torch
from torch import Tensor

from bench.runtime.isolation import untouched_random_state
from bench.training.recipe import Recipe
from models.base import Batch, GenerativeModel

MOMENTS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999)
"""Shares of the budget at which losses are compared."""

TOLERANCE = 1e-3
"""Relative differences up to this one are rounding."""

FEW = 4
"""Samples on which losses are compared."""


def changing(model: GenerativeModel, recipe: Recipe, batch: Batch) -> str:
    """What of the training depends on the share of the budget that is spent; empty if nothing does.

    A run with a larger budget then takes the same steps at first. Learning rates, phases and the
    stage of growing are looked up, losses are computed at several shares from the same weights,
    samples and random numbers. Averaged weights and warm-up count steps and images from the start.

    Args:
        model: the model to train; it is copied.
        recipe: how it is trained.
        batch: real data on the model's device.
    """
    if len({recipe.lr_schedule(k / 1000) for k in range(1001)}) > 1:
        return "the learning rate"
    if any(phase.span != (0.0, 1.0) for phase in model.phases):
        return "which phase is trained"
    few = Batch(batch.x[:FEW], None if batch.y is None else batch.y[:FEW])
    stage, first = _at(model, few, MOMENTS[0])
    for moment in MOMENTS[1:]:
        other_stage, losses = _at(model, few, moment)
        if other_stage != stage:
            return "the stage of growing"
        for name, loss in losses.items():
            if not torch.allclose(loss, first[name], rtol=TOLERANCE, equal_nan=True):
                return f"the loss of the {name}"
    return ""


def _at(model: GenerativeModel, batch: Batch, progress: float) -> tuple[int, dict[str, Tensor]]:
    """The stage at this share of the budget, and the loss of every phase by its name."""
    copy = deepcopy(model).train()
    copy.progress.fill_(progress)
    losses = {}
    with untouched_random_state(copy.progress.device):
        torch.manual_seed(0)
        for phase in copy.phases:
            copy.requires_grad_(False)
            phase.module.requires_grad_(True)
            losses[phase.name] = phase.loss(batch)["loss"].detach().float()
    return copy.stage, losses
