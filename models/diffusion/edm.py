"""EDM (Karras et al. 2022): diffusion over continuous noise levels, a preconditioned network."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn

from models.base import Batch, DataSpec
from models.diffusion.denoising import SHARES, DenoisingModel, NoiseLevel, OnState, watched
from models.diffusion.noise_path import Denoiser, Path, Prediction, karras_path
from models.diffusion.sampler_names import SamplerSpec, parse, run
from models.diffusion.samplers import ANYWHERE, Churning

TIME_SCALE = 250.0
"""c_noise is ln(sigma) / 4 in the paper, and here 1000 times that: our U-Net's sinusoids, like
DDPM's, are made for timesteps from 0 to 1000."""


class EDM(DenoisingModel):
    """A denoiser D(x; sigma) trained on log-normal noise levels and drawn by Heun's method.

    Its samplers walk along Karras's noise levels; see `sampler_names` for their names. Names with a
    spacing of timesteps, ddpm and guidance belong to other models.
    """

    def __init__(
        self,
        data: DataSpec,
        network: Callable[[tuple[int, ...]], nn.Module],
        *,
        samplers: Sequence[str],
        sigma_data: float = 0.5,
        p_mean: float = -1.2,
        p_std: float = 1.2,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        rho: float = 7.0,
        churning: Churning = ANYWHERE,
    ) -> None:
        """Build the network.

        Args:
            data: the data to model; only its shape is used.
            network: builds F from the shape of one sample; F maps scaled samples (B, *shape) and
                the noise level's code (B,) to (B, *shape).
            samplers: their names: heun-<steps>, with -churn<S> if wanted, ddim- or dpmpp-<steps>.
            sigma_data: standard deviation of the data.
            p_mean: mean of ln(sigma) in training.
            p_std: its standard deviation.
            sigma_min: least noise level of the samplers.
            sigma_max: greatest.
            rho: see `karras_path`.
            churning: where and how samplers with churn add noise.

        Raises:
            ValueError: a number is out of its range, or a sampler's name does not fit.
        """
        super().__init__(data.shape)
        for name, value in (("sigma_data", sigma_data), ("p_std", p_std)):
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if not math.isfinite(p_mean):
            raise ValueError(f"p_mean must be finite, got {p_mean}")
        if isinstance(samplers, str) or not samplers:
            raise ValueError(f"samplers must be a list of at least one name, got {samplers!r}")
        self.sigma_data = sigma_data
        self.p_mean = p_mean
        self.p_std = p_std
        self.levels = (sigma_min, sigma_max, rho)
        self.churning = churning
        self.specs = {name: self._spec(name) for name in samplers}
        for name in samplers:
            self.path(name)  # refuses bad levels
        self.network = network(self.data_shape)

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """D(x; sigma), the preconditioned network (Eq. 7, coefficients of Table 1).

        Args:
            x: samples plus noise of standard deviation sigma, (B, *shape).
            sigma: (B,), positive.

        Returns:
            The predicted clean samples, (B, *shape) float32, not clipped.
        """
        c_skip, c_out, c_in = coefficients(sigma, self.sigma_data)
        shape = (-1, *(1,) * (x.dim() - 1))
        output = self.network(c_in.view(shape) * x, TIME_SCALE * sigma.log()).float()
        return c_skip.view(shape) * x + c_out.view(shape) * output

    def denoiser_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted squared error of D, the weight undoing c_out² (Eq. 8; Sec. 5 for the levels).

        Args:
            batch: real data; labels are not used.

        Returns:
            "loss", 0-dim float32.
        """
        x_0 = batch.x
        sigma = (self.p_mean + self.p_std * torch.randn(len(x_0), device=x_0.device)).exp()  # (B,)
        noise = sigma.view(-1, *(1,) * (x_0.dim() - 1)) * torch.randn_like(x_0)
        errors = (self.denoise(x_0 + noise, sigma) - x_0).square().flatten(1).mean(dim=1)  # (B,)
        return {"loss": (errors / coefficients(sigma, self.sigma_data)[1].square()).mean()}

    def denoiser(self, y: Tensor | None = None, guidance: float = 1.0) -> Denoiser:
        """The model as samplers see it, by noise level; it is unconditional."""
        return lambda x, sigma: Prediction(self.denoise(x, sigma))

    def path(self, name: str) -> Path:
        """The noise levels that a sampler of this name visits."""
        return karras_path(self._spec(name).steps, *self.levels)

    def noise_levels(self) -> list[NoiseLevel]:
        """Values of sigma at `SHARES` of the way, on a logarithmic scale."""
        low, high, _ = self.levels
        sigmas = [low * (high / low) ** share for share in SHARES]
        return [NoiseLevel(q, 1.0, s, s) for q, s in zip(SHARES, sigmas, strict=True)]

    def _sample(
        self,
        spec: SamplerSpec,
        path: Path,
        x: Tensor,
        generator: Generator,
        y: Tensor | None,
        on_state: OnState | None = None,
    ) -> Tensor:
        denoise = watched(self.denoiser(), on_state)
        x_0 = run(spec, denoise, x, path, generator, churning=self.churning)
        return x_0.clamp(-1.0, 1.0)

    def _spec(self, name: str) -> SamplerSpec:
        """What a sampler's name says, checked against the model."""
        spec = parse(name)
        if spec.method == "ddpm" or spec.spacing != "trailing" or spec.guidance != 1.0:
            raise ValueError(
                f"samplers: EDM has heun-, ddim- and dpmpp-<steps> without spacing and guidance, "
                f"got {name!r}"
            )
        return spec


def coefficients(sigma: Tensor, sigma_data: float) -> tuple[Tensor, Tensor, Tensor]:
    """c_skip, c_out and c_in of a noise level (Karras et al. 2022, Table 1), shaped as sigma."""
    total = sigma.square() + sigma_data**2
    return sigma_data**2 / total, sigma * sigma_data * total.rsqrt(), total.rsqrt()
