"""Data-parallel training under torchrun: rank, world size and gradient averaging."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

EVALUATION_TIMEOUT = timedelta(hours=12)
"""How long the other ranks wait while rank 0 evaluates."""


@dataclass(frozen=True)
class World:
    """The processes that train one model together.

    Attributes:
        rank: index of this process, in [0, size).
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes, evaluates and reports."""
        return self.rank == 0

    def average_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Replace every gradient by its mean over ranks, in one all-reduce per dtype.

        Gradients must exist for equal sets of parameters on every rank.
        """
        if self.size == 1:
            return
        by_dtype: dict[torch.dtype, list[Tensor]] = {}
        for parameter in parameters:
            if parameter.grad is not None:
                by_dtype.setdefault(parameter.grad.dtype, []).append(parameter.grad)
        for gradients in by_dtype.values():
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            dist.all_reduce(flat)
            means = (flat / self.size).split([gradient.numel() for gradient in gradients])
            for gradient, mean in zip(gradients, means, strict=True):
                gradient.copy_(mean.view_as(gradient))

    def sum_up(self, values: Sequence[Tensor]) -> None:
        """Replace every tensor by its sum over ranks."""
        if self.size > 1:
            for value in values:
                dist.all_reduce(value)

    def least(self, value: float) -> float:
        """The minimum over ranks, on every rank."""
        return self.minimum(torch.tensor(value, dtype=torch.float64, device=self._device)).item()

    def total(self, value: float) -> float:
        """The sum over ranks, on every rank."""
        values = torch.tensor(value, dtype=torch.float64, device=self._device)
        if self.size > 1:
            dist.all_reduce(values)
        return values.item()

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        flags = torch.tensor(not flag, dtype=torch.int64, device=self._device)
        return not self.minimum(flags).item()

    @property
    def _device(self) -> str:
        """Device of tensors for the backend."""
        return "cuda" if self.size > 1 and dist.get_backend() == "nccl" else "cpu"

    def minimum(self, values: Tensor) -> Tensor:
        """Element-wise minimum over ranks, on every rank."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values, dist.ReduceOp.MIN)
        return values

    def synchronise_module(self, module: nn.Module) -> None:
        """Copy rank 0's parameters and buffers to all ranks."""
        if self.size == 1:
            return
        with torch.no_grad():
            tensors: list[Tensor] = [*module.parameters(), *module.buffers()]
            for tensor in tensors:
                dense = tensor.contiguous()
                dist.broadcast(dense, src=0)
                tensor.copy_(dense)

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.size > 1:
            dist.barrier()


def local_rank() -> int:
    """Index of this process on its machine, which is also the index of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextmanager
def distributed(device: torch.device) -> Iterator[World]:
    """Join the processes of torchrun; outside torchrun a world of one.

    The process group is left open for the next job of a sweep; `leave` ends it.
    """
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        yield World()
        return
    if not dist.is_initialized():
        cuda = device.type == "cuda"  # without its device, nccl guesses one from the rank
        backend, own = ("nccl", device) if cuda else ("gloo", None)
        dist.init_process_group(backend, timeout=EVALUATION_TIMEOUT, device_id=own)
    yield World(dist.get_rank(), dist.get_world_size())


def leave() -> None:
    """Shut down torch.distributed, if it was initialised, once all processes have called this.

    A process that ends without it may abort. No effect outside torchrun.
    """
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
