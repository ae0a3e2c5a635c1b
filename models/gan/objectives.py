"""GAN objectives: pure functions of discriminator logits.

Everywhere real_logits and fake_logits are the discriminator's outputs on real and on generated
samples, (B,) each, and a loss is 0-dim.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor
from torch.nn.functional import relu, softplus


@dataclass(frozen=True)
class Objective:
    """The losses of discriminator and generator.

    Attributes:
        discriminator: (real_logits, fake_logits), each (B,), to a scalar the discriminator
            minimises.
        generator: (fake_logits, real_logits), (B,) each, to a scalar the generator minimises;
            real_logits are None unless `paired`.
        paired: whether the generator loss uses real samples.
        centred: whether 0 is the logit of samples that are as likely to be real as not, so that the
            sign of a logit has a meaning.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor | None], Tensor]
    paired: bool = False
    centred: bool = True


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Binary cross-entropy of real against fake (Goodfellow et al. 2014, Eq. 1, negated).

    The paper's discriminator maximises E[log D(x)] + E[log(1 - D(G(z)))]. A source document of this
    project (seed 002) states that the discriminator minimises this sum and the generator maximises
    its second term: both signs are reversed. Here, as in the paper, the discriminator maximises the
    sum by minimising its negative. With D = sigmoid(logit), -log D = softplus(-logit) and -log(1 -
    D) = softplus(logit), which never overflow.

    Returns:
        -E[log D(x)] - E[log(1 - D(G(z)))], at least 0; 2 log 2 when D = 1/2 everywhere.
    """
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def saturating_generator_loss(fake_logits: Tensor) -> Tensor:
    """E[log(1 - D(G(z)))], at most 0: the min-max game (Goodfellow et al. 2014, Eq. 1).

    Its gradient vanishes if the discriminator is confident, as early in training.
    """
    return -softplus(fake_logits).mean()


def non_saturating_generator_loss(fake_logits: Tensor) -> Tensor:
    """-E[log D(G(z))], at least 0, as used in practice (Goodfellow et al. 2014, Section 3).

    It has the same fixed point as the min-max game, but a strong gradient early in training.
    """
    return softplus(-fake_logits).mean()


def hinge_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))] (Miyato et al. 2018, Eq. 16), at least 0."""
    return relu(1.0 - real_logits).mean() + relu(1.0 + fake_logits).mean()


def critic_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E[D(G(z))] - E[D(x)], an estimate of minus a distance if D is 1-Lipschitz.

    Arjovsky et al. 2017, Eq. 2, negated, since it is minimised.
    """
    return fake_logits.mean() - real_logits.mean()


def raise_logits(fake_logits: Tensor) -> Tensor:
    """-E[D(G(z))], the generator's side of the Wasserstein and of the hinge game."""
    return -fake_logits.mean()


def least_squares_discriminator_loss(
    real_logits: Tensor, fake_logits: Tensor, real_code: float = 1.0, fake_code: float = 0.0
) -> Tensor:
    """(E[(D(x) - b)²] + E[(D(G(z)) - a)²]) / 2 (Mao et al. 2017, Eq. 2), at least 0.

    In the paper b is `real_code` and a is `fake_code`.
    """
    real_loss = (real_logits - real_code).square().mean()
    return 0.5 * (real_loss + (fake_logits - fake_code).square().mean())


def least_squares_generator_loss(fake_logits: Tensor, wanted_code: float = 1.0) -> Tensor:
    """E[(D(G(z)) - c)²] / 2 (Mao et al. 2017, Eq. 2), c being `wanted_code`; at least 0."""
    return 0.5 * (fake_logits - wanted_code).square().mean()


def paired_loss(higher: Tensor, lower: Tensor) -> Tensor:
    """E[softplus(lower - higher)]: each logit is compared with one of the other kind.

    The relativistic pairing game (Jolicoeur-Martineau 2019; Huang et al. 2024, Eq. 2), whose
    landscape has no local minima in which modes are missing.

    Args:
        higher: logits that should be higher, (B,).
        lower: logits that should be lower, (B,).
    """
    return softplus(lower - higher).mean()


def minimax() -> Objective:
    """The min-max game as printed: both players share one value function (Eq. 1)."""
    return Objective(discriminator_loss, _alone(saturating_generator_loss))


def non_saturating() -> Objective:
    """The min-max discriminator with the non-saturating generator loss (Section 3)."""
    return Objective(discriminator_loss, _alone(non_saturating_generator_loss))


def hinge() -> Objective:
    """The hinge game of SNGAN (Miyato et al. 2018, Eq. 16 and 17)."""
    return Objective(hinge_discriminator_loss, _alone(raise_logits))


def least_squares(
    fake_code: float = 0.0, real_code: float = 1.0, wanted_code: float = 1.0
) -> Objective:
    """LSGAN (Mao et al. 2017, Eq. 2); by default the paper's 0-1 coding (Eq. 9).

    With b - c = 1 and b - a = 2, as -1, 1 and 0 (Eq. 8), the generator minimises a Pearson χ²
    divergence.

    Args:
        fake_code: a, the discriminator's target for fakes.
        real_code: b, its target for real samples.
        wanted_code: c, the generator's target for fakes.

    Raises:
        ValueError: a equals b, so that real and fake would have one target.
    """
    if fake_code == real_code:
        raise ValueError(f"fake_code must differ from real_code, got {fake_code} for both")
    return Objective(
        partial(least_squares_discriminator_loss, real_code=real_code, fake_code=fake_code),
        _alone(partial(least_squares_generator_loss, wanted_code=wanted_code)),
        centred=fake_code == -real_code and fake_code < real_code,
    )


def wasserstein(drift: float = 0.0) -> Objective:
    """The Wasserstein game, for critics kept Lipschitz by other means (Arjovsky et al. 2017).

    Args:
        drift: weight of E[D(x)²] at real samples in the critic's loss, which keeps it near zero;
            0.001 in Karras et al. 2018, App. A.1.

    Raises:
        ValueError: drift is negative.
    """
    if not drift >= 0:
        raise ValueError(f"drift must not be negative, got {drift}")

    def critic(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        loss = critic_loss(real_logits, fake_logits)
        return loss + drift * real_logits.square().mean() if drift else loss

    return Objective(critic, _alone(raise_logits), centred=False)


def relativistic() -> Objective:
    """The relativistic pairing game of R3GAN (Huang et al. 2024, Eq. 2)."""

    def generator(fake_logits: Tensor, real_logits: Tensor | None) -> Tensor:
        if real_logits is None:
            raise ValueError("the relativistic game pairs fake logits with real ones, got None")
        return paired_loss(fake_logits, real_logits)

    return Objective(paired_loss, generator, paired=True, centred=False)


def _alone(loss: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor | None], Tensor]:
    """Adapt a generator loss that needs no real samples."""
    return lambda fake_logits, real_logits: loss(fake_logits)
