"""The training loop of every model: phases, gradients, optimizers, EMA, budget and checkpoints."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bench.config import Budget, TrainerSettings
from bench.cost.measure import synchronize
from bench.cost.training_flops import TrainingFlops, count_step
from bench.data.batches import BatchStream
from bench.runtime.cores import CoreMeter
from bench.runtime.device import autocast, to_device
from bench.training import checkpoint
from bench.training.accumulation import accumulation
from bench.training.budget import Earlier, Spent, shares
from bench.training.callbacks import Observer
from bench.training.clock import TrainingClock
from bench.training.ema import EMA
from bench.training.loss_log import LossRecord
from bench.training.recipe import Recipe
from models.base import Batch, GenerativeModel, Phase
from models.layers.norms import compile_norms

CLOCK_EVERY = 10
"""Steps between two readings of the clock where several ranks have to agree on the time."""


class Trainer:
    """Trains any `GenerativeModel` under a budget, resumably.

    Every random number of step k on rank r comes from torch's global generator, seeded as a pure
    function of (seed, k, r): there is no random state to save, and a resumed run repeats exactly
    the steps that an undisturbed one takes.

    Args:
        model: with its initial weights, on its device.
        recipe: how it wants to be trained.
        budget: when training ends, and at how many points on the way the model is evaluated.
        batches: real data, this rank's share of it.
        checkpoints: folder of checkpoints.
        settings: how to train, whatever the model.

    Attributes:
        world: this process among those that share the batches.
        clock: measures training time, without time in which the process is stopped.
        meter: measures whether training gets its cores, since it was last read.
        spent: what training has consumed.
        earlier: the part of it that a run with a smaller budget has trained.
        losses: what the phases logged since the last row.
    """

    def __init__(
        self,
        model: GenerativeModel,
        recipe: Recipe,
        budget: Budget,
        batches: BatchStream,
        checkpoints: Path,
        settings: TrainerSettings | None = None,
    ) -> None:
        self.model = model.train()
        self.recipe = recipe
        self.budget = budget
        self.batches = batches
        self.checkpoints = checkpoints
        self.settings = settings or TrainerSettings()
        self.world = batches.world
        self.device = model.progress.device
        self.phases = self._check_phases()
        self.world.synchronise_module(model)
        decay = recipe.ema_decay if self.phases else None
        self.ema = None if decay is None else EMA(model, decay)
        self.optimizers = {
            phase.name: self._make_optimizer(phase)
            for phase in self.phases
            if phase.optimizer is None
        }
        self._parameters = {phase.name: list(phase.module.parameters()) for phase in self.phases}
        self._losses: dict[str, Callable[[Batch], dict[str, Tensor]]] = {
            phase.name: torch.compile(phase.loss) if self.settings.compile else phase.loss
            for phase in self.phases
        }
        self._accumulation = accumulation(
            model, partial(self.batch, 0), self.settings.accumulate, self.world.size
        )
        self._updates_per_step = max((phase.repeats for phase in self.phases), default=0)
        self._flops = TrainingFlops(self._flops_of_step)
        self.clock = TrainingClock()
        self.meter = CoreMeter()
        self._started = 0.0  # what the clock showed at the start of training, less all pauses
        if budget.flops is not None and self.phases and not self._flops_of_step(0.0):
            raise ValueError(
                "budget.flops would never be spent, since torch counts no FLOPs in this model's "
                "steps: give budget.images or budget.seconds instead"
            )
        self.spent = Spent()
        self.earlier = Earlier()
        self.losses = LossRecord([phase.name for phase in self.phases], self.device)

    @property
    def points(self) -> int:
        """How many evaluation points there are; one for a model that is not trained."""
        return self.earlier.points + len(self._shares)

    @property
    def _shares(self) -> list[float]:
        """Shares of the budget at which the points after `earlier` lie."""
        return shares(self.budget, self.earlier) if self.phases else [1.0]

    @property
    def progress(self) -> float:
        """Share of the budget that is spent, in [0, 1]."""
        return self.spent.share(self.budget)

    @property
    def seconds(self) -> float:
        """Training seconds so far, as the budget counts them: by the clock, or nominal ones."""
        speed = self.budget.images_per_second
        return self.spent.seconds if speed is None else self.spent.images / speed

    @property
    def evaluated(self) -> GenerativeModel:
        """The model to evaluate: the averaged weights where the recipe keeps them."""
        return self.model if self.ema is None else self.ema.model

    @property
    def weights(self) -> str:
        """Which weights `evaluated` carries: "ema" or "raw"."""
        return "raw" if self.ema is None else "ema"

    def fit(self, observer: Observer) -> None:
        """Train until the budget is spent, from where `resume` left off.

        Raises:
            TrainingFailedError: a loss was not finite.
        """
        if self.device.type == "cpu":
            compile_norms(self.model, self.settings.precision)
        if self.spent.point:
            observer.on_point()  # a kill may have come between its checkpoint and its evaluation
        while self.spent.point < self.points:
            if self.phases:
                with self.clock.beating():
                    self._train_until(
                        self._shares[self.spent.point - self.earlier.points], observer
                    )
            self.spent.point += 1
            self._save(observer)
            observer.on_point()
            self.world.barrier()

    def _flops_of_step(self, progress: float) -> float:
        """FLOPs of one step over all ranks; counting them is not training time."""
        synchronize(self.device)
        start = self.clock.now()
        with self.meter.stopped():
            flops = count_step(
                self.model,
                self.batch(0),
                batch_size=self.recipe.batch_size,
                processes=self.world.size,
                progress=progress,
            )
            synchronize(self.device)
        self._started += self.clock.now() - start
        return flops

    def _train_until(self, target: float, observer: Observer) -> None:
        """Step until the share `target` of the budget is spent.

        The device is waited for only where something is logged or saved (and in every step of a
        model with several stages, which looks at `progress` to know its own).
        """
        saved_at = self.spent.seconds
        self._started = self.clock.now() - self.spent.seconds
        self.meter.start()
        done = self.progress >= target
        while not done:
            self.step()
            if self.world.size == 1 or self.spent.step % CLOCK_EVERY == 0:
                self._agree_on_seconds()
            observer.on_step()
            done = self.progress >= target
            logs = done or self.spent.step % self.settings.log_every == 0
            saves = self.spent.seconds - saved_at >= self.settings.checkpoint_seconds
            if not logs and not saves:
                continue
            synchronize(self.device)
            self.spent.flops = self._flops.total(self.spent.step)
            self._agree_on_seconds()
            self._agree_on_cores()
            done = self.progress >= target  # the device took until here
            self.losses.raise_failure(self.world)
            if logs or done:
                observer.on_log(self.losses.take_means())
            if saves and not done:
                self._save(observer)
                saved_at = self.spent.seconds
            self._started = self.clock.now() - self.spent.seconds
            self.meter.start()

    def step(self) -> None:
        """One pass over the active phases: each updates its own module, the others frozen."""
        self._seed()
        progress = self.progress
        self.model.progress.fill_(progress)
        active = [phase for phase in self.phases if phase.active(progress)]
        kind = f"{self.model.stage} {' '.join(phase.name for phase in active)}"
        self._flops.enter(kind, self.spent.step, progress)
        shown: dict[int, Batch] = {}
        for phase in (phase for phase in active if self.spent.step % phase.every == 0):
            self.train_phase(phase, shown)
        self.spent.step += 1
        self.spent.images += self.recipe.batch_size * active[0].repeats
        if self.budget.flops is not None:
            self.spent.flops = self._flops.total(self.spent.step)
        if self.ema is not None:
            self.ema.update(self.spent.step)

    def train_phase(self, phase: Phase, shown: dict[int, Batch]) -> None:
        """One phase's part of a step.

        Args:
            phase: updates its own module, all else is frozen.
            shown: batches of the step by number of the update; those that are missing are added.
        """
        self._freeze_all_but(phase)
        self._set_learning_rate(phase, self.progress)
        for update in range(phase.repeats):
            if update not in shown:
                k = self.spent.step * self._updates_per_step + update
                shown[update] = self.batch(k)
            self._update(phase, shown[update])

    def _set_learning_rate(self, phase: Phase, progress: float) -> None:
        """The optimizer's learning rate × schedule, a function of progress, × warm-up."""
        start, end = phase.span
        factor = self.recipe.lr_schedule((progress - start) / (end - start))
        if self.recipe.warmup_images:
            images = self.spent.images + self.recipe.batch_size
            factor *= min(1.0, images / self.recipe.warmup_images)
        for group in self.optimizers[phase.updated_by].param_groups:
            group["lr"] = factor * group.setdefault("initial_lr", group["lr"])

    def _update(self, phase: Phase, batch: Batch) -> None:
        """Minimise one phase's loss on one batch, then do what is due after it."""
        optimizer, parameters = self.optimizers[phase.updated_by], self._parameters[phase.name]
        optimizer.zero_grad(set_to_none=True)
        found = self._accumulation.backward(phase, batch, partial(self._loss, phase))
        self.world.average_gradients(parameters)
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters, self.recipe.clip_norm)
        optimizer.step()
        self.world.sum_up(phase.summed)
        if phase.after_update is not None:
            with torch.no_grad():
                phase.after_update()
        for values in found:
            self.losses.add(phase.name, values, self.spent.step + 1)

    def _loss(self, phase: Phase, batch: Batch) -> dict[str, Tensor]:
        """What a phase's loss gives for a batch or a part of one."""
        with autocast(self.device, self.settings.precision):
            return self._losses[phase.name](batch)

    def _agree_on_seconds(self) -> None:
        """Take the least training time of all ranks, from which each of them counts on.

        The least, since all wait for one that is stopped, and only its clock knows; else of two
        ranks that are stopped in turn only the longer pause would be left out.
        """
        now = self.clock.now()
        self.spent.seconds = self.world.least(now - self._started)
        self._started = now - self.spent.seconds

    def _agree_on_cores(self) -> None:
        """Add what all ranks used of their cores since the last call, and stop measuring.

        Of the waiting times it is the longest: every step waits for the slowest rank.
        """
        self.meter.stop()
        used, self.meter = self.meter, CoreMeter()
        self.spent.cpu_seconds += self.world.total(used.cpu)
        self.spent.waiting_seconds += -self.world.least(-used.waiting)

    def _seed(self) -> None:
        entropy = (self.settings.seed, self.spent.step, self.world.rank)
        seed = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]) >> 1
        torch.default_generator.manual_seed(seed)  # torch.manual_seed costs a stack trace a call
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _freeze_all_but(self, phase: Phase) -> None:
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        for parameter in self._parameters[phase.name]:
            parameter.requires_grad_(True)

    def batch(self, k: int) -> Batch:
        """Batch k of training, this rank's share of it, on the device."""
        batch = self.batches(k)
        y = None if batch.y is None else to_device(batch.y, self.device)
        return Batch(to_device(batch.x, self.device), y)

    def _check_phases(self) -> tuple[Phase, ...]:
        phases = self.model.phases
        names = [phase.name for phase in phases]
        optimizers = {phase.updated_by for phase in phases}
        if names and optimizers != set(self.recipe.optimizers):
            raise ValueError(
                f"model.training.optimizers must name the model's phases {sorted(optimizers)}, "
                f"got {sorted(self.recipe.optimizers)}"
            )
        for moment in (0.0, *(phase.span[1] for phase in phases)):
            if phases and moment < 1 and not any(phase.active(moment) for phase in phases):
                raise ValueError(f"no phase of the model is trained at {moment:.0%} of the budget")
        return phases

    def _make_optimizer(self, phase: Phase) -> Optimizer:
        try:
            return self.recipe.optimizers[phase.name](phase.module.parameters())
        except (TypeError, ValueError) as error:  # torch does not say which optimizer
            raise ValueError(f"model.training.optimizers.{phase.name}: {error}") from error

    def _save(self, observer: Observer) -> None:
        if self.world.is_main and self.phases:
            observer.on_save()
            checkpoint.save(self.state_dict(), self.checkpoints, self.spent.step)
        self.world.barrier()

    def resume(self) -> None:
        """Continue from the newest readable checkpoint, if there is one."""
        state = checkpoint.load_latest(self.checkpoints, self.device)
        if state is not None:
            self.load_state_dict(state)

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, in plain containers."""
        return {
            "model": self.model.state_dict(),
            "ema": None if self.ema is None else self.ema.model.state_dict(),
            "optimizers": {name: opt.state_dict() for name, opt in self.optimizers.items()},
            "spent": asdict(self.spent),
            "earlier": asdict(self.earlier),
            "processes": self.world.size,
            "flops": self._flops.state_dict(),
            "losses": self.losses.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`, exactly.

        Raises:
            ValueError: it was saved by another number of processes.
        """
        if state["processes"] != self.world.size:
            raise ValueError(
                f"{self.checkpoints} was written by {state['processes']} processes, now there are "
                f"{self.world.size}: resume with as many, or delete the run directory"
            )
        self.model.load_state_dict(state["model"])
        if self.ema is not None:
            self.ema.model.load_state_dict(state["ema"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.spent = Spent.recorded(state["spent"])
        self.earlier = Earlier(**state.get("earlier", {}))
        self._flops.load_state_dict(state["flops"])
        self.losses.load_state_dict(state["losses"])
