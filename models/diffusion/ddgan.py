"""The denoising diffusion GAN (Xiao et al. 2022): diffusion in few steps, each made by a GAN.

The true reverse step is Gaussian only where steps are small. Here steps are few and large. In each,
a generator samples a clean image, from which x_{t-1} follows, so that the step's distribution can
have several modes; a discriminator tells x_{t-1} from a diffused real image.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from models.base import Batch, DataSpec, GenerativeModel, Phase, Sampler
from models.diffusion.denoising import shown_states
from models.diffusion.schedules import (
    cumulative_alphas,
    posterior_mean_coefficients,
    posterior_variances,
)
from models.exports import NetworkCall, normal_input, uniform_input
from models.gan.augmentation import Augmentation, alike
from models.gan.networks.dcgan import halvings
from models.gan.objectives import Objective
from models.gan.regularisers import Regulariser


class DDGAN(GenerativeModel):
    """A generator and a discriminator of the steps of a short variance-preserving diffusion.

    Timesteps are 0-based: step t leads from x_t back to x_{t-1}, and x_{-1} is the clean x_0.
    """

    alpha_bar_prev: Tensor
    betas: Tensor
    weight_x_0: Tensor
    weight_x_t: Tensor
    variances: Tensor

    def __init__(
        self,
        data: DataSpec,
        generator: Callable[..., nn.Module],
        discriminator: Callable[[tuple[int, ...], int], nn.Module],
        objective: Objective,
        *,
        betas: Tensor,
        latent_dim: int = 100,
        regularisers: Sequence[Regulariser] = (),
        augmentation: Augmentation | None = None,
    ) -> None:
        """Build the networks and the schedule.

        Args:
            data: the data to model.
            generator: (data_shape, latent_dim=…) to a network called as (x_t, t, z=z), whose
                output, (B, *data_shape), becomes x_0 through a tanh.
            discriminator: (data_shape, T) to a network from (x_prev, x_t, t) to logits, (B,).
            objective: the losses of the two players; the paper's is the non-saturating one.
            betas: variances of the forward process, (T,) float64, as from `vp_betas`.
            latent_dim: length of z ~ N(0, I), sampled anew at every step.
            regularisers: penalties of the discriminator as a function of x_prev alone; their
                interval is 1.
            augmentation: of the pairs that the discriminator sees, x_{t-1} and x_t alike, in
                training; penalties see through it. None for none.

        Raises:
            ValueError: latent_dim is below 1, a penalty has another interval, or the augmentation
                is not one of such data or of such an objective.
        """
        super().__init__(data.shape)
        if augmentation is not None:
            augmentation.require(self.data_shape)
            augmentation.require_objective(objective)
        self.augmentation = deepcopy(augmentation)  # its state is the model's own
        for penalty in regularisers:
            if penalty.interval > 1:
                raise ValueError(
                    f"interval of {penalty.name} must be 1 in a DDGAN, which adds penalties to "
                    f"every loss, got {penalty.interval}"
                )
        if latent_dim < 1:
            raise ValueError(f"latent_dim must be at least 1, got {latent_dim}")
        self.num_timesteps = len(betas)
        self.latent_dim = latent_dim
        self.objective = objective
        self.regularisers = tuple(regularisers)
        alpha_bar = cumulative_alphas(betas)
        weight_x_0, weight_x_t = posterior_mean_coefficients(betas)
        constants = {
            "betas": betas,
            "alpha_bar_prev": torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]]),
            "weight_x_0": weight_x_0,
            "weight_x_t": weight_x_t,
            "variances": posterior_variances(betas),
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant.float(), persistent=False)  # (T,)
        self.generator = generator(self.data_shape, latent_dim=latent_dim)
        self.discriminator = discriminator(self.data_shape, self.num_timesteps)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One discriminator update, then one generator update."""
        first = Phase("discriminator", self.discriminator, self.discriminator_loss)
        if self.augmentation is not None:
            follow, summed = self.augmentation.after_update, self.augmentation.summed
            first = replace(first, after_update=follow, summed=summed)
        return first, Phase("generator", self.generator, self.generator_loss)

    @property
    def samplers(self) -> Mapping[str, Sampler]:
        """All T steps, from pure noise."""
        steps = self.num_timesteps
        calls = {self.generator: steps}
        return {f"ddgan-{steps}": Sampler(self.generate, calls, trajectory=self.trajectory)}

    @property
    def network_calls(self) -> Mapping[str, NetworkCall]:
        """One, the generator of clean images."""
        last = self.num_timesteps - 1
        inputs = (
            normal_input(
                "x_t", self.data_shape, "noisy samples at timestep t; pure noise at the last"
            ),
            uniform_input("t", 0, last, f"timesteps, whole numbers in [0, {last}]"),
            normal_input("z", (self.latent_dim,), "latents from N(0, I), new ones at every step"),
        )
        outputs = {"x_0": "clean samples that x_t may come from, in [-1, 1]"}
        constants = {"betas": self.betas.tolist()}
        call = NetworkCall(lambda x, t, z: (self.predict(x, t, z),), inputs, outputs, constants)
        return {"generator": call}

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Loss of telling diffused from generated x_{t-1}, given x_t (Xiao et al. 2022, Eq. 5).

        Returns:
            "loss", and the mean logits "real_logit" and "fake_logit" each regulariser's value by
            its name and what the augmentation logs, detached; all 0-dim.
        """
        x_prev, x_t, t = self.diffuse(batch.x)
        with torch.no_grad():
            fake = self.fake(x_t, t)  # (B, *data_shape)

        def critic(x: Tensor) -> Tensor:
            return self.critic(x, x_t, t)  # (B,)

        real_logits, fake_logits = critic(x_prev), critic(fake)
        loss = self.objective.discriminator(real_logits, fake_logits)
        logs = {
            "real_logit": real_logits.detach().mean(),
            "fake_logit": fake_logits.detach().mean(),
        }
        for regulariser in self.regularisers:
            penalty = regulariser(critic, x_prev, fake)
            loss, logs[regulariser.name] = loss + penalty, penalty.detach()
        if self.augmentation is not None:
            self.augmentation.observe(real_logits)
            logs.update(self.augmentation.logged)
        return {"loss": loss, **logs}

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Loss of fooling the discriminator, given x_t (Xiao et al. 2022, Eq. 6).

        Returns:
            "loss", and the mean logit "fake_logit", detached; both 0-dim.
        """
        x_prev, x_t, t = self.diffuse(batch.x)
        fake_logits = self.critic(self.fake(x_t, t), x_t, t)  # (B,)
        real_logits = self.critic(x_prev, x_t, t) if self.objective.paired else None  # (B,)
        return {
            "loss": self.objective.generator(fake_logits, real_logits),
            "fake_logit": fake_logits.detach().mean(),
        }

    def critic(self, x_prev: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The logits of x_{t-1}, given x_t, as both are seen in training, (B,) float32."""
        if self.augmentation is not None:
            x_prev, x_t = alike(self.augmentation, x_prev, x_t)
        return self.discriminator(x_prev, x_t, t).float()

    def diffuse(self, x_0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sample t uniformly and (x_{t-1}, x_t) from q given x_0, (B, *data_shape).

        Returns:
            x_prev, x_t, each as x_0, and t, (B,) int64 in {0, …, T - 1}.
        """
        t = torch.randint(self.num_timesteps, (len(x_0),), device=x_0.device)  # (B,)
        signal = _per_sample(self.alpha_bar_prev, t, x_0)
        x_prev = signal.sqrt() * x_0 + (1 - signal).sqrt() * torch.randn_like(x_0)
        beta = _per_sample(self.betas, t, x_0)
        x_t = (1 - beta).sqrt() * x_prev + beta.sqrt() * torch.randn_like(x_0)
        return x_prev, x_t, t

    def fake(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Sample x_{t-1} given x_t: x_0 by the generator, then q(x_{t-1} | x_t, x_0) (Eq. 7).

        Args:
            x_t: noisy images, (B, *data_shape).
            t: their timesteps, (B,) int64.

        Returns:
            x_{t-1}, (B, *data_shape) float32.
        """
        z = torch.randn(len(x_t), self.latent_dim, device=x_t.device)  # (B, latent_dim)
        x_0 = self.predict(x_t, t, z)
        mean = _per_sample(self.weight_x_0, t, x_0) * x_0 + _per_sample(
            self.weight_x_t, t, x_0
        ) * x_t.to(x_0.dtype)
        return mean + _per_sample(self.variances, t, x_0).sqrt() * torch.randn_like(x_0)

    def predict(self, x_t: Tensor, t: Tensor, z: Tensor) -> Tensor:
        """One of the clean images that x_t may come from, (B, *data_shape) float32 in [-1, 1]."""
        return self.generator(x_t, t, z=z).float().tanh()

    def generate(self, n: int, generator: Generator, y: Tensor | None = None) -> Tensor:
        """Generate n samples, (n, *data_shape) float32 in [-1, 1]; y is ignored.

        The model should be in eval mode. Every random number comes from `generator`, which lives on
        the model's device.
        """
        *_, x_0 = self._states(n, generator)
        return x_0.clamp(-1.0, 1.0)

    def trajectory(self, n: int, generator: Generator, y: Tensor | None = None) -> list[Tensor]:
        """The states of `generate` from noise to result, each (n, *data_shape); y is ignored."""
        *states, x_0 = self._states(n, generator)
        return shown_states(states, x_0.clamp(-1.0, 1.0))

    def _states(self, n: int, generator: Generator) -> Iterator[Tensor]:
        """Pure noise, then x after each of the T steps, each (n, *data_shape)."""

        def noise(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, device=generator.device)

        x = noise(n, *self.data_shape)
        yield x
        for t in reversed(range(self.num_timesteps)):
            times = torch.full((n,), t, device=x.device, dtype=torch.int64)  # (n,)
            x_0 = self.predict(x, times, noise(n, self.latent_dim))
            x = self.weight_x_0[t] * x_0 + self.weight_x_t[t] * x  # x_0 itself at the last step
            if t > 0:
                x = x + self.variances[t].sqrt() * noise(*x.shape)
            yield x


def _per_sample(constants: Tensor, t: Tensor, x: Tensor) -> Tensor:
    """Each sample's constant, (B, 1, …), of as many dimensions as x."""
    return constants[t].view(-1, *(1,) * (x.dim() - 1))


def vp_betas(num_timesteps: int = 4, beta_min: float = 0.1, beta_max: float = 20.0) -> Tensor:
    """Variances of T steps of the continuous VP process (Xiao et al. 2022, App. C).

    beta_t = 1 - exp(-beta_min / T - (beta_max - beta_min) (2 t - 1) / (2 T^2)) for t = 1, …, T.

    Args:
        num_timesteps: T, at least 1.
        beta_min: rate of the process at its beginning, positive.
        beta_max: rate at its end, at least beta_min.

    Returns:
        betas, (T,) float64.

    Raises:
        ValueError: an argument is out of its range.
    """
    if num_timesteps < 1:
        raise ValueError(f"num_timesteps must be at least 1, got {num_timesteps}")
    if not 0 < beta_min <= beta_max:
        raise ValueError(
            f"beta_min and beta_max must satisfy 0 < beta_min <= beta_max, got {beta_min}, "
            f"{beta_max}"
        )
    t = torch.arange(1, num_timesteps + 1, dtype=torch.float64)
    rise = (beta_max - beta_min) * (2 * t - 1) / (2 * num_timesteps**2)
    return -torch.expm1(-beta_min / num_timesteps - rise)


class Discriminator(nn.Module):
    """Pairs of noisy images and their timestep to logits (Xiao et al. 2022, App. C, Table 7).

    Both images enter side by side; residual blocks with LeakyReLU(0.2) halve them until the shorter
    side is 4 to 7, every block shifted by an embedding of the timestep; the sum over what is left
    gives the logit. There is no batch normalisation. Departures from the authors' code: the few
    timesteps have a learned embedding instead of sinusoids, there is no minibatch standard
    deviation, and every block halves by plain averages.
    """

    def __init__(self, data_shape: tuple[int, ...], num_timesteps: int, *, width: int = 64) -> None:
        """Build the network.

        Args:
            data_shape: (C, H, W), H and W at least 8.
            num_timesteps: T.
            width: channels before the first block; they double twice at most.

        Raises:
            ValueError: data_shape is not an image of at least 8x8, or width is below 1.
        """
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        levels = len(halvings(data_shape)) - 1
        widths = [width * min(2**level, 4) for level in range(levels + 1)]
        embedding = 4 * width
        self.embed = nn.Embedding(num_timesteps, embedding)
        self.conv_in = nn.Conv2d(2 * data_shape[0], width, 3, padding=1)
        self.blocks = nn.ModuleList(
            Halve(widths[level], widths[level + 1], embedding) for level in range(levels)
        )
        self.last = nn.Linear(widths[-1], 1)

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Judge x_prev.

        Args:
            x_prev: images at timestep t - 1, real or generated, (B, C, H, W).
            x_t: the noisier images that they come from, (B, C, H, W).
            t: timesteps of x_t, (B,) int64 in {0, …, T - 1}.

        Returns:
            Logits of being real, (B,).
        """
        embedding = F.leaky_relu(self.embed(t), 0.2)  # (B, E)
        h = self.conv_in(torch.cat([x_prev, x_t], dim=1))  # (B, W_0, H, W)
        for block in self.blocks:
            h = block(h, embedding)  # (B, W_l, H / 2^l, W / 2^l)
        return self.last(F.leaky_relu(h, 0.2).sum((2, 3))).squeeze(1)  # (B,)


class Halve(nn.Module):
    """A residual block that halves the image: two convolutions, the first shifted by the timestep.

    Args:
        width_in: channels of the input.
        width_out: channels of the output.
        embedding: length of the timestep's embedding.
    """

    def __init__(self, width_in: int, width_out: int, embedding: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width_in, 3, padding=1)
        self.conv2 = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.shift = nn.Linear(embedding, width_in)
        self.shortcut = nn.Conv2d(width_in, width_out, 1, bias=False)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map x, (B, width_in, H, W), to (B, width_out, H // 2, W // 2); embedding is (B, E)."""
        h = self.conv1(F.leaky_relu(x, 0.2))  # (B, width_in, H, W)
        h = h + self.shift(embedding)[:, :, None, None]  # (B, width_in, H, W)
        h = self.conv2(F.avg_pool2d(F.leaky_relu(h, 0.2), 2))  # (B, width_out, H // 2, W // 2)
        return (h + self.shortcut(F.avg_pool2d(x, 2))) * 0.5**0.5
