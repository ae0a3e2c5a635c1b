"""What the two players of a GAN minimise: pure functions on discriminator logits."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import softplus


@dataclass(frozen=True)
class Objective:
    """The pair of losses that makes a game.

    Attributes:
        discriminator: (real_logits, fake_logits), each (B,), to a scalar the discriminator
            minimises.
        generator: fake_logits, (B,), to a scalar the generator minimises.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Binary cross-entropy of telling real from fake (Goodfellow et al. 2014, Eq. 1, negated).

    The paper's discriminator maximises E[log D(x)] + E[log(1 - D(G(z)))]. One of this project's
    source documents (seed 002) prints that it minimises this sum, and that the generator maximises
    its second term: both signs are reversed. Here, as in the paper, the discriminator maximises the
    sum by minimising its negative. With D = sigmoid(logit),
    -log D = softplus(-logit) and -log(1 - D) = softplus(logit), which never overflow.

    Args:
        real_logits: discriminator outputs on real samples, (B,).
        fake_logits: discriminator outputs on generated samples, (B,).

    Returns:
        -E[log D(x)] - E[log(1 - D(G(z)))], 0-dim, at least 0; 2 log 2 when D = 1/2 everywhere.
    """
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def saturating_generator_loss(fake_logits: Tensor) -> Tensor:
    """The generator's side of the min-max game (Goodfellow et al. 2014, Eq. 1).

    Its gradient vanishes where the discriminator is confident, which is early in training.

    Args:
        fake_logits: discriminator outputs on generated samples, (B,).

    Returns:
        E[log(1 - D(G(z)))], 0-dim, at most 0.
    """
    return -softplus(fake_logits).mean()


def non_saturating_generator_loss(fake_logits: Tensor) -> Tensor:
    """The heuristic that the paper trains with (Goodfellow et al. 2014, Section 3).

    It has the same fixed point as the min-max game, but a strong gradient early in training.

    Args:
        fake_logits: discriminator outputs on generated samples, (B,).

    Returns:
        -E[log D(G(z))], 0-dim, at least 0.
    """
    return softplus(-fake_logits).mean()


def minimax() -> Objective:
    """The min-max game as printed: both players share one value function (Eq. 1)."""
    return Objective(discriminator_loss, saturating_generator_loss)


def non_saturating() -> Objective:
    """The same discriminator, with the generator loss that does not saturate (Section 3)."""
    return Objective(discriminator_loss, non_saturating_generator_loss)
