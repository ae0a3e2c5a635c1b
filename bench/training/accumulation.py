"""Gradient accumulation: a batch is processed in equal parts, whose gradients are averaged."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bench.runtime.isolation import untouched_random_state
from models.base import Batch, GenerativeModel, Phase

TOLERANCE = 0.01
"""Relative differences of gradients up to this one are rounding, on GPUs with reduced precision."""

NEGLIGIBLE = 1e-3
"""Share of the whole gradient below which the gradient of one parameter is compared with that share
and not with itself."""

Loss = Callable[[Batch], dict[str, Tensor]]


def parts_of(batch: Batch, count: int) -> list[Batch]:
    """Every count-th sample of a batch from the k-th on, for k below count.

    Hence a loss that treats the first share of a batch in another way finds the same samples in the
    first shares of the parts.

    Args:
        batch: B samples, B a multiple of count.
        count: number of parts.
    """
    if count == 1:
        return [batch]
    last = batch.x.is_contiguous(memory_format=torch.channels_last) if batch.x.ndim == 4 else False
    layout = torch.channels_last if last else torch.contiguous_format
    return [
        Batch(
            batch.x[k::count].contiguous(memory_format=layout),
            None if batch.y is None else batch.y[k::count],
        )
        for k in range(count)
    ]


class Accumulation:
    """Computes the gradient of a batch in parts.

    Buffers that a loss writes are left as the whole batch would leave them: every part starts from
    their values before, and the results are averaged, or summed for `Phase.summed`.

    Args:
        count: number of parts.
        averaged: by phase, the buffers that its loss writes, without `Phase.summed`.
    """

    def __init__(
        self, count: int = 1, averaged: Mapping[str, Sequence[Tensor]] | None = None
    ) -> None:
        self.count = count
        self._averaged = averaged or {}

    def backward(self, phase: Phase, batch: Batch, loss: Loss) -> list[dict[str, Tensor]]:
        """Add the gradient of a batch to that of the phase's parameters.

        Args:
            phase: whose loss it is.
            batch: real data, of a size that is a multiple of the number of parts.
            loss: the phase's loss, perhaps compiled.

        Returns:
            The values of every part.
        """
        if self.count == 1:
            values = loss(batch)
            values["loss"].backward()
            return [values]
        averaged = self._averaged.get(phase.name, ())
        buffers = (*averaged, *phase.summed)
        before = [buffer.clone() for buffer in buffers]
        totals: list[Tensor] = []
        found = []
        for part in parts_of(batch, self.count):
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)
            values = loss(part)
            (values["loss"] / self.count).backward()
            found.append({name: value.detach().clone() for name, value in values.items()})
            now = [buffer.clone() for buffer in buffers]
            totals = [a + b for a, b in zip(totals, now, strict=True)] if totals else now
        for k, (buffer, total) in enumerate(zip(buffers, totals, strict=True)):
            exact = not total.is_floating_point()
            mean = total // self.count if exact else total / self.count
            buffer.copy_(mean if k < len(averaged) else total)
        return found


def accumulation(
    model: GenerativeModel, first: Callable[[], Batch], count: int, processes: int
) -> Accumulation:
    """The accumulation of a model's gradients, which equal those of whole batches.

    Args:
        model: to be trained.
        first: gives a batch of real data of one process; called only if there are parts.
        count: number of parts, `trainer.accumulate`.
        processes: that share a batch.

    Raises:
        ValueError: a batch cannot be divided into so many equal parts, or the gradient of a batch
            is not the mean of those of its parts.
    """
    if count == 1 or not model.phases:
        return Accumulation()
    batch = first()
    own = len(batch.x)
    if own % count:
        fitting = [n for n in range(1, own + 1) if own % n == 0]
        near = [max(n for n in fitting if n < count), *[n for n in fitting if n > count][:1]]
        whole = f"model.training.batch_size={own * processes}"
        if processes > 1:
            whole = f"the {own} samples that each of {processes} processes has of {whole}"
        raise ValueError(
            f"trainer.accumulate={count} does not divide {whole}: set it to "
            f"{' or '.join(map(str, near))}"
        )
    size = own // count
    few = min(size, model.batch_unit + size % model.batch_unit)
    written = {phase.name: _written(model, phase.name, batch, few, count) for phase in model.phases}
    buffers = dict(model.named_buffers())
    return Accumulation(
        count, {name: [buffers[key] for key in keys] for name, keys in written.items()}
    )


def _written(model: GenerativeModel, name: str, batch: Batch, few: int, count: int) -> list[str]:
    """Names of the buffers that the loss of a phase writes, without its `summed`.

    Args:
        model: is copied.
        name: of the phase.
        batch: at least twice as many samples as `few`.
        few: samples in one of two parts.
        count: number of parts in training, for the message.

    Raises:
        ValueError: the gradient of a batch is not the mean of those of its parts.
    """
    some = Batch(batch.x[: 2 * few], None if batch.y is None else batch.y[: 2 * few])
    names: set[str] = set()
    with untouched_random_state(model.progress.device):
        start, end = next(phase.span for phase in model.phases if phase.name == name)
        for moment in (start, start + 0.999 * (end - start)):
            noise = _Noise(2)
            whole = _tried(model, name, some, moment, noise)
            try:
                halves = [
                    _tried(model, name, part, moment, noise.of(k))
                    for k, part in enumerate(parts_of(some, 2))
                ]
            except ValueError:  # such as batch norm of a single sample
                halves = []
            if whole.pairwise or noise.torn or not halves or not _agree(whole, halves):
                raise ValueError(
                    f"trainer.accumulate={count} would change the training of this model, in whose "
                    f"{name} loss the gradient of a batch is not the mean over parts of the batch "
                    "(as with batch norm, minibatch standard deviation, or a loss that is no mean "
                    "over samples): set trainer.accumulate=1, or choose a model without these"
                )
            names |= whole.averaged.keys()
    return sorted(names)


class _Tried(NamedTuple):
    """What the loss of a phase leaves: gradients and written buffers, by name."""

    gradients: dict[str, Tensor]
    averaged: dict[str, Tensor]
    summed: list[Tensor]
    pairwise: bool


def _tried(
    model: GenerativeModel, name: str, batch: Batch, progress: float, noise: "_Noise"
) -> _Tried:
    """Compute the loss of a phase on a copy of the model, from fixed random numbers."""
    copy = deepcopy(model).train()
    copy.progress.fill_(progress)
    phase = next(phase for phase in copy.phases if phase.name == name)
    copy.requires_grad_(False)
    phase.module.requires_grad_(True)
    before = {key: buffer.clone() for key, buffer in copy.named_buffers()}
    torch.manual_seed(0)
    with noise:
        phase.loss(batch)["loss"].backward()
    gradients = {
        key: parameter.grad
        for key, parameter in copy.named_parameters()
        if parameter.grad is not None
    }
    averaged = {
        key: buffer
        for key, buffer in copy.named_buffers()
        if not any(buffer is each for each in phase.summed) and not buffer.equal(before[key])
    }
    return _Tried(gradients, averaged, list(phase.summed), phase.pairwise)


def _agree(whole: _Tried, halves: Sequence[_Tried]) -> bool:
    """Whether what a batch gives is the mean, or the sum, of what its two parts give."""
    one, other = halves
    for all_, first, second in (
        (whole.gradients, one.gradients, other.gradients),
        (whole.averaged, one.averaged, other.averaged),
    ):
        if not all_.keys() == first.keys() == second.keys():
            return False
        means = {key: (first[key].double() + second[key].double()) / 2 for key in all_}
        if not _close(all_, means):
            return False
    sums = zip(whole.summed, one.summed, other.summed, strict=True)
    return all(torch.allclose(total, a + b, rtol=TOLERANCE) for total, a, b in sums)


def _close(values: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> bool:
    """Whether tensors differ by rounding only; what is not finite is for training to report."""
    norms = {key: value.double().norm() for key, value in values.items()}
    least = NEGLIGIBLE * torch.stack([*norms.values(), torch.zeros(())]).norm() if norms else 0.0
    return not any(
        (value.double() - others[key]).norm() > TOLERANCE * torch.clamp(norms[key], min=least)
        for key, value in values.items()
    )


class _Noise(TorchDispatchMode):
    """Records the random numbers of a batch, and gives each part of the batch its own of them.

    Args:
        count: number of parts.
        recorded: what is replayed; None for recording.
        part: number of the part.

    Attributes:
        torn: whether random numbers of a part are not every count-th of those of the batch.
    """

    def __init__(self, count: int, recorded: list[Tensor] | None = None, part: int = 0) -> None:
        super().__init__()
        self.count, self.part = count, part
        self.recorded: list[Tensor] = []
        self._left = None if recorded is None else list(recorded)
        self._parts: list[_Noise] = []
        self._torn = False

    def of(self, part: int) -> "_Noise":
        """Replays what one part has of the recorded numbers."""
        self._parts.append(_Noise(self.count, self.recorded, part))
        return self._parts[-1]

    @property
    def torn(self) -> bool:
        """See the class."""
        return self._torn or any(part._torn or part._left for part in self._parts)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call an operator; where its result is random, record or replace it."""
        result = func(*args, **(kwargs or {}))
        random = torch.Tag.nondeterministic_seeded in func.tags and "attention" not in func.name()
        if random:
            for value in result if isinstance(result, tuple | list) else (result,):
                if isinstance(value, Tensor):
                    self._meet(value)
        return result

    def _meet(self, value: Tensor) -> None:
        if self._left is None:
            self.recorded.append(value.clone())
        elif not self._left:
            self._torn = True
        else:
            whole = self._left.pop(0)
            for axis, (size, own) in enumerate(zip(whole.shape, value.shape, strict=False)):
                if size != own:
                    index = torch.arange(self.part, size, self.count, device=whole.device)
                    whole = whole.index_select(axis, index)
            if whole.shape == value.shape:
                value.copy_(whole)
            else:
                self._torn = True
