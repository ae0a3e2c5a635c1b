"""KID, the squared maximum mean discrepancy under a cubic kernel (Bińkowski et al. 2018)."""

import numpy as np
import torch
from torch import Tensor

from bench.evaluation.metrics.inner_products import Cloud, Tile

KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000


class KernelDistance:
    """KID over the subsets of torch-fidelity, from tiles of inner products.

    With the subsets as columns of 0 and 1, M (N, S), the sums over their pairs are diag(Mᵀ K M):
    one product K M per tile instead of S kernels. Not scaled.

    Of the kernel k(x, y) = (x · y / D + 1)³ the part k(x, c) + k(c, y) - k(c, c), where c is the
    common centre, is omitted. Terms that depend on one sample alone cancel in the unbiased estimate
    and would only lose digits, nearly all of them if features are far from zero.

    Args:
        real: N samples.
        fake: M samples.
        seed: of the subsets of min(1000, N / 2, M / 2).
        weights: (resamples, M) float64, bootstrap weights of the fake samples; None for none.

    Raises:
        ValueError: a set has fewer than four samples.
    """

    def __init__(
        self, real: Cloud, fake: Cloud, *, seed: int, weights: Tensor | None = None
    ) -> None:
        if min(len(real), len(fake)) < 4:
            raise ValueError(
                f"{len(real)} real and {len(fake)} fake samples; KID needs at least 4 of each"
            )
        self.size = min(KID_SUBSET_SIZE, len(real) // 2, len(fake) // 2)
        like = real.norms
        self._clouds = real, fake
        self._dimensions = real.features.shape[1]
        self._at_centre = 1 + float(real.centre.double().square().sum()) / self._dimensions
        self._real, self._fake = _subsets(len(real), len(fake), self.size, seed, like)
        self._weights = weights
        self._weighted = None if weights is None else weights.T.to(like)  # (M, resamples)
        zeros = torch.zeros(KID_SUBSETS, dtype=torch.float64, device=like.device)
        self._real_real, self._fake_fake, self._real_fake = (zeros.clone() for _ in range(3))
        self._resampled = torch.zeros_like(zeros[0])  # (resamples,) as soon as tiles are added
        self._towards_real = torch.zeros_like(fake.norms, dtype=torch.float64)  # (M,)

    def add_real(self, tile: Tile) -> None:
        """Add a tile of real × real."""
        kernel = self._kernel(tile, self._clouds[0], self._clouds[0])
        self._real_real += _within(tile, kernel, self._real)

    def add_fake(self, tile: Tile) -> None:
        """Add a tile of fake × fake."""
        kernel = self._kernel(tile, self._clouds[1], self._clouds[1])
        self._fake_fake += _within(tile, kernel, self._fake)
        if self._weighted is not None:  # apart, so that it does not change how subsets are rounded
            self._resampled = self._resampled + _within(tile, kernel, self._weighted)

    def add_cross(self, tile: Tile) -> None:
        """Add a tile of real (rows) × fake (columns)."""
        kernel = self._kernel(tile, *self._clouds)
        self._real_fake += _forms(self._real[tile.rows], kernel, self._fake[tile.columns])
        if self._weights is not None:
            self._towards_real[tile.columns] += kernel.sum(0).double()

    def distances(self) -> Tensor:
        """The unbiased squared discrepancy of each subset, (S,) float64."""
        pairs = self.size * (self.size - 1)
        within = (self._real_real + self._fake_fake) / pairs
        return (within - 2 * self._real_fake / self.size**2).cpu()

    def replicates(self, rng: np.random.Generator) -> Tensor:
        """Bootstrap replicates of the mean over subsets, up to a constant, (resamples,) float64.

        The fake samples' weights enter the estimate over all samples, where a pair counts with the
        product of its weights, a sample and itself never; the real samples are held fixed. The
        contribution of the choice of subsets is resampled from the subsets' distances.

        Raises:
            ValueError: the object was constructed without weights.
        """
        if self._weights is None:
            raise ValueError("weights is None; replicates need bootstrap weights")
        weights = self._weights.to(self._towards_real.device)
        pairs = weights.sum(1).square() - weights.square().sum(1)
        across = weights @ self._towards_real / (weights.sum(1) * len(self._real))
        alone = (self._at_centre + self._clouds[1].along / self._dimensions).pow(3)  # k(x, c)
        total = weights.sum(1, keepdim=True)
        left_out = (weights * (total - weights) / pairs[:, None] - weights / total) @ alone
        replicates = (self._resampled / pairs - 2 * across + 2 * left_out).cpu()
        distances = self.distances()
        choice = torch.from_numpy(rng.integers(0, KID_SUBSETS, (len(replicates), KID_SUBSETS)))
        return replicates + distances[choice].mean(1)

    def _kernel(self, tile: Tile, first: Cloud, second: Cloud) -> Tensor:
        """k(x, y) - k(x, c) - k(c, y) + k(c, c), (R, C); 0 for pairs of a sample with itself.

        With p = c · c / D + 1, s = c · (x - c) / D, t = c · (y - c) / D, q = p + s + t and
        w = (x - c) · (y - c) / D this is (q + w)³ - q³ + 3 s t (2 p + s + t), which subtracts no
        large numbers.
        """
        p, like, dimensions = self._at_centre, tile.squared, self._dimensions
        s = (first.along[tile.rows] / dimensions).to(like)  # (R,)
        t = (second.along[tile.columns] / dimensions).to(like)  # (C,)
        norms = first.norms[tile.rows, None], second.norms[tile.columns]
        w = torch.add(*(each / (2 * dimensions) for each in norms))  # by the law of cosines
        w.sub_(like, alpha=1 / (2 * dimensions))
        q = s[:, None] + (t + p)
        kernel = torch.add(w, q, alpha=3).mul_(w).addcmul_(q, q, value=3).mul_(w)
        kernel.addmm_(torch.stack([2 * p * s + s.square(), s], 1), 3 * torch.stack([t, t.square()]))
        return kernel.fill_diagonal_(0) if tile.diagonal else kernel


def _within(tile: Tile, kernel: Tensor, columns: Tensor) -> Tensor:
    """Quadratic forms of a tile of one set, which stands for its mirror image as well."""
    forms = _forms(columns[tile.rows], kernel, columns[tile.columns])
    return forms if tile.diagonal else 2 * forms


def _forms(left: Tensor, kernel: Tensor, right: Tensor) -> Tensor:
    """Quadratic forms Σ_ij left_is kernel_ij right_js of each column s, float64."""
    return ((kernel @ right).double() * left).sum(0)


def _subsets(real: int, fake: int, size: int, seed: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Columns of 0 and 1, (N, S) and (M, S): torch-fidelity's subsets, fake ones sampled first."""
    rng = np.random.RandomState(seed)
    masks = np.zeros((real, KID_SUBSETS), np.float32), np.zeros((fake, KID_SUBSETS), np.float32)
    for s in range(KID_SUBSETS):
        masks[1][rng.choice(fake, size, replace=False), s] = 1
        masks[0][rng.choice(real, size, replace=False), s] = 1
    return torch.from_numpy(masks[0]).to(like), torch.from_numpy(masks[1]).to(like)
