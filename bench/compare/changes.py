"""What a run changed of its model, as its overrides say it: in full, and short for readers."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

OF_MODEL = re.compile(r"[+~]*model[.]")
"""How overrides of the model begin."""

ASIDE = "model.build.samplers="
"""An override of the model that says how it is drawn from, not what it is."""

OTHER_RUNS = ("draft_run=", "refine_run=")
"""Overrides that name another run, and so differ between seeds."""

FOLLOWS = re.compile(r"\$\\?\{")
"""What an override holds that takes another one's value, as Hydra writes it: an interpolation."""

LONGEST = 60
"""Letters of a short description; a longer one helps nobody."""


def model_changes(overrides: Iterable[str]) -> list[str]:
    """The overrides of the model itself, without the sign that adds a key.

    Left out are samplers, other runs, and what only follows another override.
    """
    return [
        word.lstrip("+~")
        for word in overrides
        if OF_MODEL.match(word)
        and not word.lstrip("+~").startswith(ASIDE)
        and not any(name in word for name in OTHER_RUNS)
        and not FOLLOWS.search(word)
    ]


def short(changes: Iterable[str]) -> str:
    """The same for readers, such as "generator.lr=5e-5": the last two names of every key."""
    shown = []
    for change in changes:
        key, _, value = change.partition("=")
        if key.endswith("._target_"):
            key, value = key.removesuffix("._target_"), value.rpartition(".")[2]
        shown.append(f"{'.'.join(key.split('.')[-2:])}={value}")
    return ", ".join(shown)


def described(overrides: Mapping[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Name variants by what was changed of their model, where that tells them apart.

    Args:
        overrides: as one text, by model and variant.

    Returns:
        Labels such as "ddpm_small (denoiser.lr=5e-4)"; the model's own name where nothing was
        changed. Variants that share a label, or would have a very long one, are left out.
    """
    labels = {}
    for (model, variant), text in overrides.items():
        changes = short(model_changes(text.split()))
        labels[model, variant] = f"{model} ({changes})" if changes else model
    count = Counter(labels.values())
    return {
        key: label for key, label in labels.items() if count[label] == 1 and len(label) <= LONGEST
    }
