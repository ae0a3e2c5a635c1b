"""Variants of a model: the overrides that distinguish them, in few words."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from bench.runtime.outlook import INTERPOLATION

MODEL_PREFIX = re.compile(r"[+~]*model[.]")
"""Prefix of overrides of the model."""

SAMPLERS_KEY = re.compile(r"[+~]*model[.]([a-z_]+[.])*(samplers?|steps)=")
"""An override that changes how the model is sampled, not what it is."""

OTHER_RUNS = ("draft_run=", "refine_run=", "teacher_run=")
"""Overrides that name another run, which differs between seeds."""

MAX_LABEL = 60
"""Maximum length of a short description, in characters."""


def model_changes(overrides: Iterable[str]) -> list[str]:
    """The overrides of the model itself, without the prefix that adds a key.

    Overrides of samplers, of other runs and by interpolation are left out.
    """
    return [
        word.lstrip("+~")
        for word in overrides
        if MODEL_PREFIX.match(word)
        and not SAMPLERS_KEY.match(word)
        and not any(name in word for name in OTHER_RUNS)
        and not INTERPOLATION.search(word)
    ]


def short(changes: Iterable[str]) -> str:
    """Overrides with only the last two names of every key, such as "generator.lr=5e-5"."""
    shown = []
    for change in changes:
        key, _, value = change.partition("=")
        if key.endswith("._target_"):
            key, value = key.removesuffix("._target_"), value.rpartition(".")[2]
        shown.append(f"{'.'.join(key.split('.')[-2:])}={value}")
    return ", ".join(shown)


def described(overrides: Mapping[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Label variants by the overrides of their model, if that distinguishes them.

    Args:
        overrides: by model and variant, separated by spaces.

    Returns:
        Labels such as "ddpm_small (denoiser.lr=5e-4)"; the model's name if nothing was
        changed. Variants with equal or very long labels are left out.
    """
    labels = {}
    for (model, variant), text in overrides.items():
        changes = short(model_changes(text.split()))
        labels[model, variant] = f"{model} ({changes})" if changes else model
    count = Counter(labels.values())
    return {
        key: label for key, label in labels.items() if count[label] == 1 and len(label) <= MAX_LABEL
    }
