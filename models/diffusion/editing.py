"""Image editing by partial noising (SDEdit, Meng et al. 2022) with any trained diffusion model."""

from typing import TYPE_CHECKING

from torch import Generator, Tensor

if TYPE_CHECKING:
    from models.diffusion.denoising import DenoisingModel


def edit(
    model: "DenoisingModel",
    x: Tensor,
    name: str,
    strength: float,
    generator: Generator,
    y: Tensor | None = None,
) -> Tensor:
    """Noise samples and denoise them by the share `strength` of a sampler's steps, at least one.

    Args:
        model: in eval mode.
        x: clean samples, (B, *data_shape) in [-1, 1].
        name: of the sampler.
        strength: in (0, 1]; 1 keeps nothing of x.
        generator: source of the noise, on the model's device.
        y: classes of a conditional model, (B,); None if they are not known.

    Returns:
        Samples, (B, *data_shape) float32.

    Raises:
        ValueError: strength is out of its range, or the name is not that of a sampler.
    """
    if not 0 < strength <= 1:
        raise ValueError(f"strength of an edit must be in (0, 1], got {strength}")
    steps = max(1, round(strength * model.path(name).steps))
    return model.refine(x, name, steps, generator, y)
