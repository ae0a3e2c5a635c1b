"""Augmentation of what a discriminator sees, real or fake, so that few images last longer.

Both kinds are differentiable, since the generator learns through them. Mirroring images is not part
of them: that is a setting of the data set.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from models.base import ShapeError
from models.gan.objectives import Objective
from models.layers.affine import rotation, scaling, translation, warp
from models.layers.precision import full_precision


class Augmentation(nn.Module):
    """Random transformations of a batch, of which each sample gets its own.

    `forward` maps images, (B, C, H, W) in [-1, 1], to images of the same shape, float32. Random
    numbers come from torch's global generator.
    """

    def require(self, data_shape: tuple[int, ...]) -> None:
        """Raise ShapeError if samples of this shape cannot be augmented."""
        if len(data_shape) != 3:
            raise ShapeError(
                "data_shape must be (C, H, W) for an augmentation, which transforms images, got "
                f"{tuple(data_shape)}: leave model.build.augmentation out"
            )

    def require_objective(self, objective: Objective) -> None:
        """Raise ValueError if it cannot follow a discriminator that is trained by this."""

    @property
    def summed(self) -> tuple[Tensor, ...]:
        """Buffers that `observe` overwrites, see `Phase.summed`."""
        return ()

    @property
    def logged(self) -> Mapping[str, Tensor]:
        """Values to log with the discriminator's, 0-dim."""
        return {}

    def observe(self, real_logits: Tensor) -> None:
        """Take note of the discriminator's logits of augmented real samples, (B,)."""

    def after_update(self) -> None:
        """Adapt to what was observed; called after every update of the discriminator."""


def alike(augmentation: Augmentation, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The images of pairs, each pair under one transformation; all (B, C, H, W)."""
    with torch.random.fork_rng(devices=[first.device] if first.is_cuda else []):
        moved = augmentation(first)
    return moved, augmentation(second)


class DiffAugment(Augmentation):
    """Colour, translation and cutout of every sample (Zhao et al. 2020, Sec. 3.3 and App. A).

    https://arxiv.org/abs/2006.10738. Color: brightness by at most 0.5 up or down, saturation by a
    factor in [0, 2], contrast by one in [0.5, 1.5]. Translation: by at most an eighth of the sides,
    zeros enter. Cutout: a square of half the sides becomes zero. As in the authors' code, a cutout
    may be cut at the border.

    Args:
        policy: kinds of transformations in the order of their application.

    Raises:
        ValueError: a kind is unknown or given twice, or there is none.
    """

    def __init__(self, policy: Sequence[str] = ("color", "translation", "cutout")) -> None:
        super().__init__()
        known = isinstance(policy, list | tuple) and set(policy) <= set(TRANSFORMATIONS)
        if not known or not policy or len(set(policy)) < len(policy):
            raise ValueError(
                f"policy of DiffAugment must list some of {sorted(TRANSFORMATIONS)}, each at most "
                f"once, got {policy!r}"
            )
        self.policy = tuple(policy)

    def forward(self, x: Tensor) -> Tensor:
        """Transform every sample."""
        x = x.float()
        for name in self.policy:
            x = TRANSFORMATIONS[name](x)
        return x


def change_colour(x: Tensor) -> Tensor:
    """Brightness, saturation and contrast, (B, C, H, W) in and out."""
    x = x + _uniform(x, -0.5, 0.5)
    grey = x.mean(dim=1, keepdim=True)
    x = torch.lerp(grey, x, _uniform(x, 0.0, 2.0))
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean, x, _uniform(x, 0.5, 1.5))


def translate(x: Tensor, share: float = 0.125) -> Tensor:
    """Shift by whole pixels, at most `share` of the sides; (B, C, H, W) in and out."""
    for dim in (2, 3):
        side = x.shape[dim]
        most = int(side * share + 0.5)
        shifts = torch.randint(-most, most + 1, (len(x), 1), device=x.device)
        source = torch.arange(side, device=x.device) + shifts  # (B, side)
        inside = (source >= 0) & (source < side)
        shape = [len(x), 1, 1, 1]
        shape[dim] = side
        index = source.clamp(0, side - 1).view(shape).expand_as(x)
        x = x.gather(dim, index) * inside.view(shape)
    return x


def cut_out(x: Tensor, share: float = 0.5) -> Tensor:
    """Set a rectangle to zero, with `share` of the sides; (B, C, H, W) in and out."""
    inside = torch.ones(len(x), 1, 1, 1, dtype=torch.bool, device=x.device)
    for dim in (2, 3):
        side = x.shape[dim]
        size = int(side * share + 0.5)
        centres = torch.randint(0, side + 1 - size % 2, (len(x), 1), device=x.device)
        first = centres - size // 2  # (B, 1)
        place = torch.arange(side, device=x.device)
        shape = [len(x), 1, 1, 1]
        shape[dim] = side
        inside = inside & ((place >= first) & (place < first + size)).view(shape)
    return x * ~inside


TRANSFORMATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "color": change_colour,
    "translation": translate,
    "cutout": cut_out,
}
"""Kinds of transformations of `DiffAugment` by the authors' names."""


def _uniform(x: Tensor, low: float, high: float) -> Tensor:
    """A number per sample, (B, 1, 1, 1)."""
    return low + (high - low) * torch.rand(len(x), 1, 1, 1, device=x.device)


class AdaptiveAugment(Augmentation):
    """ADA: augmentation with a probability that follows the discriminator's overfitting.

    Karras et al. 2020, https://arxiv.org/abs/2006.06676, Sec. 3: if the share of real samples with
    positive logits is large, r_t = E[sign D(x)] > target, the discriminator overfits and the
    probability p of every transformation rises; otherwise it falls. Transformations that happen
    with a probability below 1 cannot leak into the generated distribution (Sec. 2.2), in practice
    below 0.8.

    Transformations (App. B, pixel blitting, geometric and colour, the authors' choice "bgc"):
    quarter turns, integer translation, isotropic scaling, rotation, anisotropic scaling, fractional
    translation, brightness, contrast, luma flip, hue and saturation, with the authors' strengths.

    Departures: no mirroring, which is a setting of the data set; p is bounded by `most`; images are
    resampled bilinearly at their own size instead of at twice the size with wavelet filters; no
    filtering and no corruption, which the authors leave out by default as well.

    Args:
        target: of r_t, in (-1, 1).
        images: training images over which p can rise from 0 to 1; 500 thousand in the paper.
        interval: discriminator updates between two changes of p.
        most: largest p.
        start: first p.

    Raises:
        ValueError: an argument is out of its range.
    """

    probability: Tensor
    signs: Tensor
    window: Tensor
    updates: Tensor

    def __init__(
        self,
        target: float = 0.6,
        images: float = 500_000,
        interval: int = 4,
        most: float = 0.8,
        start: float = 0.0,
    ) -> None:
        super().__init__()
        if not -1 < target < 1:
            raise ValueError(f"target of ADA must be in (-1, 1), got {target}")
        if not 0 < images < math.inf:
            raise ValueError(f"images of ADA must be positive, got {images}")
        if interval < 1 or interval != int(interval):
            raise ValueError(f"interval of ADA must be a whole number, at least 1, got {interval}")
        if not 0 <= start <= most <= 1:
            raise ValueError(
                f"ADA needs 0 <= start <= most <= 1, got start={start} and most={most}"
            )
        self.target, self.images, self.interval, self.most = target, images, interval, most
        self.register_buffer("probability", torch.tensor(start))
        self.register_buffer("signs", torch.zeros(2))  # of one update: sum of signs, samples
        self.register_buffer("window", torch.zeros(2))  # the same since p last changed
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def require(self, data_shape: tuple[int, ...]) -> None:
        """Raise ShapeError if samples are not images with one or three channels."""
        super().require(data_shape)
        if data_shape[0] not in (1, 3):
            raise ShapeError(
                f"data_shape must have 1 or 3 channels for ADA, got {tuple(data_shape)}: choose "
                "models.gan.augmentation.DiffAugment"
            )

    def require_objective(self, objective: Objective) -> None:
        """Raise ValueError if the sign of logits has no meaning."""
        if not objective.centred:
            raise ValueError(
                "ADA follows the signs of logits, which have no zero in the objectives "
                "wasserstein, relativistic and least_squares with codes that are not opposite: "
                "set model.build.objective to non_saturating or hinge, or choose "
                "models.gan.augmentation.DiffAugment"
            )

    @property
    def summed(self) -> tuple[Tensor, ...]:
        """The sum of signs and the number of samples of one update."""
        return (self.signs,)

    @property
    def logged(self) -> Mapping[str, Tensor]:
        """The probability."""
        return {"augmentation": self.probability.clone()}

    def observe(self, real_logits: Tensor) -> None:
        """Sum the signs of logits, (B,)."""
        with torch.no_grad():
            signs = real_logits.sign()
            self.signs.copy_(torch.stack([signs.sum(), torch.ones_like(signs).sum()]))

    def after_update(self) -> None:
        """Change p after every `interval` updates by the share that their samples are of `images`.

        Nothing is read from the device.
        """
        self.window += self.signs
        self.updates += 1
        due = self.updates % self.interval == 0
        total, samples = self.window
        step = (total / samples - self.target).sign() * samples / self.images
        changed = (self.probability + step).clamp(0.0, self.most)
        self.probability.copy_(torch.where(due, changed, self.probability))
        self.window *= ~due

    def forward(self, x: Tensor) -> Tensor:
        """Apply every transformation to every sample with the current probability."""
        with full_precision(x):
            x, p = x.float(), self.probability
            x = warp(x, geometry(x, p))
            return recoloured(x, colours(x, p))


def geometry(x: Tensor, p: Tensor) -> Tensor:
    """Random inverse transformations of images, (B, 3, 3), each part with probability p.

    Rotation is split into one before and one after anisotropic scaling, each with such a
    probability that either happens with probability p.
    """
    count, (height, width) = len(x), x.shape[2:]
    once = 1 - (1 - p).sqrt()
    turns = _if(torch.randint(4, (count,), device=x.device).float(), p)
    matrix = rotation(turns * (math.pi / 2)).round()  # exact
    shift = _if(0.125 * (2 * torch.rand(2, count, device=x.device) - 1), p)
    matrix = matrix @ translation((shift[0] * width).round(), (shift[1] * height).round())
    scale = _if(0.2 * torch.randn(count, device=x.device), p).exp2()
    matrix = matrix @ scaling(scale, scale)
    matrix = matrix @ rotation(_if(_angle(x), once))
    stretch = _if(0.2 * torch.randn(count, device=x.device), p).exp2()
    matrix = matrix @ scaling(stretch, 1 / stretch)
    matrix = matrix @ rotation(_if(_angle(x), once))
    shift = _if(0.125 * torch.randn(2, count, device=x.device), p)
    return matrix @ translation(shift[0] * width, shift[1] * height)


def colours(x: Tensor, p: Tensor) -> Tensor:
    """Random affine maps of colours, (B, 4, 4), each part with probability p."""
    count = len(x)
    axis = torch.tensor([1.0, 1.0, 1.0, 0.0], device=x.device) / math.sqrt(3)
    luma = torch.outer(axis, axis)  # projection on the grey axis, (4, 4)
    identity = torch.eye(4, device=x.device)
    brightness = _if(0.2 * torch.randn(count, device=x.device), p)
    matrix = identity.repeat(count, 1, 1)
    matrix[:, :3, 3] = brightness[:, None]
    contrast = _if(0.5 * torch.randn(count, device=x.device), p).exp2()
    factors = torch.stack([contrast] * 3 + [torch.ones_like(contrast)], dim=1)  # (B, 4)
    matrix = factors[:, :, None] * matrix
    flip = _if(torch.randint(2, (count,), device=x.device).float(), p)
    matrix = (identity - 2 * flip.view(-1, 1, 1) * luma) @ matrix
    if x.shape[1] == 1:
        return matrix
    matrix = _about(axis[:3], _if(_angle(x), p)) @ matrix
    saturation = _if(torch.randn(count, device=x.device), p).exp2()
    return (luma + saturation.view(-1, 1, 1) * (identity - luma)) @ matrix


def recoloured(x: Tensor, matrix: Tensor) -> Tensor:
    """Images with mapped colours; of grey images, the mean of the three channels."""
    if x.shape[1] == 1:
        row = matrix[:, :3].mean(dim=1)  # (B, 4)
        return x * row[:, :3].sum(dim=1).view(-1, 1, 1, 1) + row[:, 3].view(-1, 1, 1, 1)
    mapped = matrix[:, :3, :3] @ x.flatten(2) + matrix[:, :3, 3:]  # (B, 3, H W)
    return mapped.view_as(x)


def _about(axis: Tensor, angle: Tensor) -> Tensor:
    """Rotations about an axis of unit length, (3,), by angles, (B,): (B, 4, 4) (Rodrigues)."""
    a, b, c = axis.tolist()
    cross = torch.tensor([[0.0, -c, b], [c, 0.0, -a], [-b, a, 0.0]], device=axis.device)
    identity = torch.eye(3, device=axis.device)
    sin, cos = angle.sin().view(-1, 1, 1), angle.cos().view(-1, 1, 1)
    result = torch.eye(4, device=axis.device).repeat(len(angle), 1, 1)
    result[:, :3, :3] = identity + sin * cross + (1 - cos) * (cross @ cross)
    return result


def _angle(x: Tensor) -> Tensor:
    """Uniform angles in [-π, π), (B,)."""
    return math.pi * (2 * torch.rand(len(x), device=x.device) - 1)


def _if(values: Tensor, p: Tensor) -> Tensor:
    """Values, (…, B), each sample's kept with probability p and otherwise zero."""
    return values * (torch.rand(values.shape[-1], device=values.device) < p)
