"""Trains three steps on this rank's share of the batch and saves gradients and weights.

Arguments: the file, the kind of device, cpu unless given, and the number of parts of a batch, 1
unless given. Ranks that share a GPU talk by gloo.
"""

import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from bench.config import Budget, TrainerSettings
from bench.data.batches import BatchStream
from bench.data.dataset import Split
from bench.runtime.device import choose_device
from bench.runtime.distributed import distributed, leave
from bench.runtime.jobs import GPU
from bench.training.callbacks import SilentObserver
from bench.training.recipe import Recipe
from bench.training.trainer import Trainer
from models.base import Batch, GenerativeModel, Phase


class Convolutional(GenerativeModel):
    """A convolutional autoencoder without batch norm: its loss is a function of the batch alone.

    It keeps sums over all samples and their number, from what its losses note of each batch.
    """

    noted: Tensor
    kept: Tensor

    def __init__(self) -> None:
        super().__init__((1, 8, 8))
        self.network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 1, 1))
        self.unused = nn.Linear(2, 2)
        self.register_buffer("noted", torch.zeros(2))
        self.register_buffer("kept", torch.zeros(2))

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase("autoencoder", self, self.loss, after_update=self.keep, summed=(self.noted,)),
        )

    @property
    def samplers(self) -> dict:
        return {}

    def keep(self) -> None:
        self.kept += self.noted

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        self.noted.copy_(torch.stack([batch.x.sum(), batch.x.new_tensor(len(batch.x))]))
        return {"loss": (self.network(batch.x) - batch.x).square().mean()}


def device_of(kind: str) -> torch.device:
    """A GPU of this rank's own, or the only one, with gloo as nccl allows no two ranks on it."""
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if kind == "cuda" and ranks > torch.cuda.device_count():
        os.environ[GPU] = "0"
        dist.init_process_group("gloo")
    return choose_device(kind)


def main(out: Path, kind: str = "cpu", parts: str = "1") -> None:
    device = device_of(kind)
    torch.manual_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (64, 1, 8, 8), dtype=np.uint8)
    with distributed(device) as world:
        batches = BatchStream(Split(images), 16, 0, flip=True, world=world)
        model = Convolutional().to(device).to(memory_format=torch.channels_last)
        if not world.is_main:  # the trainer brings all ranks to rank 0's weights
            nn.init.constant_(model.network[0].weight, 1.0)
        recipe = Recipe(batch_size=16, optimizers={"autoencoder": partial(torch.optim.SGD, lr=0.1)})
        checkpoints = out.parent / out.stem
        settings = TrainerSettings(accumulate=int(parts))
        trainer = Trainer(model, recipe, Budget(images=48), batches, checkpoints, settings)
        trainer.fit(SilentObserver())
        assert trainer.spent.images == 48
        if world.is_main:
            gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
            torch.save(
                {**gradients, **{f"{k}.value": v for k, v in model.state_dict().items() if v.ndim}},
                out,
            )
    leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
