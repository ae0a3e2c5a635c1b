"""Owns the rule that picks held-out images where a data set has no test split of its own."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np


def hold_out(names: Sequence[str], labels: Sequence[int] | None, count: int) -> np.ndarray:
    """Choose a fixed, stratified test split.

    Within each class, samples are ordered by the SHA-256 of their name, which no library version
    changes; the i-th of n stands at (i + 1/2) / n, and the `count` lowest positions are held out.
    So every class gives its share, give or take one image.

    Args:
        names: N distinct names.
        labels: N class labels, or None for unlabelled data.
        count: how many to hold out, at most N.

    Returns:
        (N,) bool, True where held out.
    """
    classes = [0] * len(names) if labels is None else list(labels)
    sizes = Counter(classes)
    seen: defaultdict[int, int] = defaultdict(int)
    positions = []
    digests = [hashlib.sha256(name.encode()).digest() for name in names]
    for i in sorted(range(len(names)), key=lambda i: digests[i]):
        positions.append(((seen[classes[i]] + 0.5) / sizes[classes[i]], digests[i], i))
        seen[classes[i]] += 1
    mask = np.zeros(len(names), dtype=bool)
    mask[[i for _, _, i in sorted(positions)[:count]]] = True
    return mask
