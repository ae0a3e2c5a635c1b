"""Hybrid model: a GAN drafts samples, a diffusion model refines them.

Noise is added to the draft up to the level at which the last k steps of a diffusion sampler remain,
and these steps are run (SDEdit, Meng et al. 2022, Algorithm 1). Few steps fix details and keep the
composition of the GAN, at a cost between those of both models; with all steps the draft is lost.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Generator, Tensor

from models.base import Batch, DataSpec, GenerativeModel, Phase, Sampler
from models.diffusion.denoising import DenoisingModel, OnState, shown_states
from models.diffusion.sampler_names import parse
from models.exports import NetworkCall

Loss = Callable[[Batch], dict[str, Tensor]]


class Hybrid(GenerativeModel):
    """Two models, each usable alone, and samplers that use both.

    Untrained models are trained together under one budget, each with its own phases; if both were
    trained before, nothing is trained.
    """

    def __init__(
        self,
        data: DataSpec,
        draft: Callable[[DataSpec], GenerativeModel],
        refine: Callable[[DataSpec], DenoisingModel],
        *,
        sampler: str = "ddim-20",
        steps: Sequence[int] = (2, 5, 10),
    ) -> None:
        """Build both models.

        Args:
            data: the data to model.
            draft: builds the model that drafts with its cheapest sampler.
            refine: builds the diffusion model.
            sampler: name of a sampler of the diffusion model, whose last steps are taken.
            steps: numbers k of these steps, one sampler each, in [1, the sampler's steps].

        Raises:
            ValueError: the model that refines is no diffusion model, a number of steps is out of
                its range or given twice, only one model was trained before, their phases share a
                name, or the sampler is guided by classes and the draft is unconditional.
        """
        super().__init__(data.shape)
        self.draft = draft(data)
        self.refine = refine(data)
        if not isinstance(self.refine, DenoisingModel):
            raise ValueError(
                f"hybrid refines by a diffusion model, got {type(self.refine).__name__}: exchange "
                "model.draft_run and model.refine_run, or name another run"
            )
        self.sampler = sampler
        self.steps = tuple(steps)
        total = self.refine.path(sampler).steps
        if not self.steps or len(set(self.steps)) < len(self.steps):
            raise ValueError(f"steps must be one or more different numbers, got {list(steps)}")
        if not 1 <= min(self.steps) <= max(self.steps) <= total:
            raise ValueError(f"steps must be in [1, {total}] of {sampler}, got {list(steps)}")
        if self.draft.trained != self.refine.trained:
            raise ValueError(
                "hybrid needs both parents trained before or neither: give both model.draft_run "
                "and model.refine_run, or none"
            )
        if parse(sampler).guidance != 1.0 and not self._draft_sampler.classes:
            raise ValueError(
                f"hybrid cannot refine by {sampler}, which is guided by classes: drafts are of "
                "unknown classes, choose a sampler without guidance or a class-conditional draft"
            )
        names = [phase.name for phase in (*self.draft.phases, *self.refine.phases)]
        if len(set(names)) < len(names):
            raise ValueError(f"hybrid needs parents whose phases differ in name, got {names}")

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Phases of both models, except of those trained before."""
        return tuple(
            replace(phase, loss=partial(self._loss, parent, phase.loss))
            for parent in (self.draft, self.refine)
            if not parent.trained
            for phase in parent.phases
        )

    @property
    def samplers(self) -> Mapping[str, Sampler]:
        """The draft alone, the draft refined by k steps for every k, and the sampler alone."""
        draft = self._draft_sampler
        spec = parse(self.sampler)
        samplers = {"draft": draft}
        for steps in self.steps:
            calls = {**(draft.calls or {}), self.refine.network: spec.evaluations(steps)}
            samplers[f"hybrid-{self.sampler}-last-{steps}"] = Sampler(
                partial(self._generate, draft, steps),
                calls,
                classes=draft.classes,
                trajectory=partial(self._trajectory, draft, steps),
            )
        return {**samplers, self.sampler: self.refine.sampler(self.sampler)}

    @property
    def network_calls(self) -> Mapping[str, NetworkCall]:
        """Those of both models, "draft-" or "refine-" before their names."""
        parents = {"draft": self.draft, "refine": self.refine}
        return {
            f"{role}-{name}": call
            for role, parent in parents.items()
            for name, call in parent.network_calls.items()
        }

    @property
    def stage(self) -> int:
        """A number that changes with the stage of either model."""
        self._pass_progress_on()
        return self.draft.stage + self.refine.stage

    @property
    def batch_unit(self) -> int:
        """A number of samples that suits both models."""
        return math.lcm(self.draft.batch_unit, self.refine.batch_unit)

    @property
    def _draft_sampler(self) -> Sampler:
        """The cheapest sampler of the model that drafts."""
        return min(self.draft.samplers.values(), key=lambda sampler: sampler.nfe or 0)

    def _generate(
        self,
        draft: Sampler,
        steps: int,
        n: int,
        generator: Generator,
        y: Tensor | None = None,
        on_state: OnState | None = None,
    ) -> Tensor:
        if not draft.classes:
            y = None  # the class of the draft is unknown
        elif y is None:  # both models generate one class
            y = torch.randint(draft.classes, (n,), generator=generator, device=generator.device)
        x = draft.generate(n, generator, y)  # (n, *data_shape)
        if on_state is not None:
            on_state(x)
        return self.refine.refine(x, self.sampler, steps, generator, y, on_state)

    def _trajectory(
        self, draft: Sampler, steps: int, n: int, generator: Generator, y: Tensor | None = None
    ) -> list[Tensor]:
        states: list[Tensor] = []  # the draft, then the inputs of the denoiser
        result = self._generate(draft, steps, n, generator, y, states.append)
        return shown_states(states, result)

    def _loss(self, parent: GenerativeModel, loss: Loss, batch: Batch) -> dict[str, Tensor]:
        self._pass_progress_on()
        return loss(batch)

    def _pass_progress_on(self) -> None:
        for parent in (self.draft, self.refine):
            if not parent.trained:
                parent.progress.copy_(self.progress)
