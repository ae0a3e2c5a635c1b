"""Distillation of a diffusion model into a function of one step (Song et al. 2023, Algorithm 2).

The student is a consistency function. Its neighbours along the probability flow are not guessed
from the data, as in consistency training, but reached by a step of the teacher's.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from models.base import Batch, DataSpec, GenerativeModel, Phase
from models.diffusion.consistency import HUBER, ConsistencyFunction
from models.diffusion.denoising import DenoisingModel

Loss = Callable[[Batch], dict[str, Tensor]]


class OneStep(ConsistencyFunction):
    """A diffusion model as the teacher, and a student that starts as a copy of it.

    A teacher that was trained before is left as it is. Any other is trained in the first part of
    the budget, and the student follows it until its own part begins.

    Departures: the loss and the noise levels of training are those of improved consistency training
    (Song & Dhariwal 2024), without LPIPS and without an average as the student's teacher; a teacher
    that is trained here teaches by its raw weights.
    """

    def __init__(
        self,
        data: DataSpec,
        teacher: Callable[[DataSpec], GenerativeModel],
        *,
        samplers: Sequence[str] = ("consistency-1",),
        between: Sequence[float] = (0.821,),
        discretisation: Sequence[int] = (18, 18),
        log_normal: Sequence[float] = (-1.1, 2.0),
        huber: float = HUBER,
        split: float = 0.5,
    ) -> None:
        """Build both models; see `ConsistencyFunction` for the settings that are not listed.

        Args:
            data: the data to model.
            teacher: builds the diffusion model. It must denoise in the data space, and its path for
                Heun's method must not scale the signal, as those of flows do.
            samplers: their names.
            between: noise levels between the steps of samplers.
            discretisation: its steps at the start and at the end of training; the paper has 18
                all along.
            log_normal: mean and standard deviation of ln(sigma) in training.
            huber: of the loss.
            split: share of the budget after which a teacher that was not trained before is done, in
                (0, 1).

        Raises:
            ValueError: a number is out of its range, a sampler's name does not fit, or the teacher
                is no diffusion model of the data, or a flow.
        """
        model = teacher(data)
        if not isinstance(model, DenoisingModel):
            raise ValueError(
                f"one_step distils a diffusion model of the data, got {type(model).__name__}: name "
                "another model.teacher_run"
            )
        if not 0 < split < 1:
            raise ValueError(f"split must be in (0, 1), got {split}")
        path = model.path("heun-2")
        if any(alpha != 1.0 for alpha in path.alphas):
            raise ValueError(
                "one_step distils a diffusion model with noise levels of unscaled samples, such as "
                f"edm or v_diffusion, got {type(model).__name__}: name another model.teacher_run"
            )
        sigmas = path.sigmas
        mean, deviation = log_normal
        super().__init__(
            data,
            samplers=samplers,
            between=between,
            discretisation=discretisation,
            log_normal=(mean, deviation),
            levels=(sigmas[-2], sigmas[0], 7.0),
            huber=huber,
        )
        self.split = split
        self.teacher = model
        self.student = deepcopy(model)
        self.student.clip = False  # what is clipped has no gradient
        self.student.trained = False

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The teacher's, empty if it was trained before, then the student's."""
        learn = Phase("student", self.student.network, self.consistency_loss)
        if self.teacher.trained:  # the recipe has optimizers for its phases all the same
            return (*(replace(phase, span=(0.0, 0.0)) for phase in self.student.phases), learn)
        return (
            *(
                replace(
                    phase,
                    loss=partial(self._teachers_loss, phase.loss),
                    span=(self.split * phase.span[0], self.split * phase.span[1]),
                    after_update=partial(self._follow, phase.after_update),
                )
                for phase in self.teacher.phases
            ),
            replace(learn, span=(self.split, 1.0)),
        )

    @property
    def stage(self) -> int:
        """The teacher's."""
        if not self.teacher.trained:
            self._pass_progress_on()
        return self.teacher.stage

    @property
    def called(self) -> nn.Module:
        """The student's network."""
        return self.student.network

    def predict(self, x: Tensor, sigma: Tensor) -> Tensor:
        """f(x; sigma), between x, at sigma_min, and the student's prediction of the data.

        See `ConsistencyFunction.predict`.
        """
        share = ((sigma - self.levels[0]) / sigma).view(-1, *(1,) * (x.dim() - 1))
        return x + share * (self.student.in_sigma()(x, sigma).x_0 - x)

    def closer(self, x_0: Tensor, noise: Tensor, upper: Tensor, lower: Tensor) -> Tensor:
        """A step of Heun's method along the teacher's probability flow, without its dropout."""
        shape = (-1, *(1,) * (x_0.dim() - 1))
        x = x_0 + upper.view(shape) * noise
        denoise, step = self.teacher.in_sigma(), (lower - upper).view(shape)
        learning = self.teacher.training
        self.teacher.eval()
        slope = (x - denoise(x, upper).x_0) / upper.view(shape)
        euler = x + step * slope
        slope_there = (euler - denoise(euler, lower).x_0) / lower.view(shape)
        self.teacher.train(learning)
        return x + step * 0.5 * (slope + slope_there)

    def _teachers_loss(self, loss: Loss, batch: Batch) -> dict[str, Tensor]:
        self._pass_progress_on()
        return loss(batch)

    def _follow(self, before: Callable[[], None] | None) -> None:
        """After an update of the teacher: do what is due, and start the student where it stands."""
        if before is not None:
            before()
        with torch.no_grad():
            self.student.load_state_dict(self.teacher.state_dict())

    def _pass_progress_on(self) -> None:
        self.teacher.progress.copy_((self.progress / self.split).clamp(max=1.0))
