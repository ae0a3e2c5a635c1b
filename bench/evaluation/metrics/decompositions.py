"""Matrix decompositions that fall back to QR iteration if torch's fast drivers fail.

Divide and conquer, which torch uses, occasionally fails to converge on a finite matrix of low rank
(github.com/pytorch/pytorch/issues/145801). Slower QR iteration is used in this case only.
"""

import math

import scipy.linalg
import torch
from torch import Tensor
from torch.linalg import LinAlgError  # pyright: ignore[reportAttributeAccessIssue]


def eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, (D,), ascending, and eigenvectors, (D, D), of a symmetric matrix.

    Args:
        matrix: (D, D) float64 on the CPU, finite; only its lower triangle is read.
    """
    try:
        values, vectors = torch.linalg.eigh(matrix)
        return values, vectors
    except LinAlgError:
        unit, scale = to_unit(matrix)
        found = scipy.linalg.eigh(unit.numpy(), driver="ev")
        return torch.from_numpy(found[0]) * scale, torch.from_numpy(found[1])


def eigvalsh(matrix: Tensor) -> Tensor:
    """Eigenvalues of a symmetric matrix, (D,), ascending.

    Args:
        matrix: (D, D) float64 on the CPU, finite; only its lower triangle is read.
    """
    try:
        return torch.linalg.eigvalsh(matrix)
    except LinAlgError:
        unit, scale = to_unit(matrix)
        values = scipy.linalg.eigh(unit.numpy(), driver="ev", eigvals_only=True)
        return torch.from_numpy(values) * scale


def svdvals(matrix: Tensor) -> Tensor:
    """Singular values, (min(M, N),), descending.

    Args:
        matrix: (M, N) float64 on the CPU, finite.
    """
    try:
        return torch.linalg.svdvals(matrix)
    except LinAlgError:
        unit, scale = to_unit(matrix)
        values = scipy.linalg.svd(unit.numpy(), compute_uv=False, lapack_driver="gesvd")
        return torch.from_numpy(values) * scale


def to_unit(matrix: Tensor) -> tuple[Tensor, float]:
    """Scale a matrix so that its largest element is between 1 and 4; also returns the divisor.

    The divisor is a power of 4, so the division is exact.
    """
    largest = max(map(abs, torch.aminmax(matrix))).item() if matrix.numel() else 0.0
    if largest == 0.0:
        return matrix, 1.0
    scale = 2.0 ** (2 * ((math.frexp(largest)[1] - 1) // 2))
    return matrix / scale, scale
