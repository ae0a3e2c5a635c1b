"""Former values and names of settings, so that runs of earlier versions can be continued."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import reduce
from itertools import combinations
from typing import Any, NamedTuple

ABSENT = object()

CLASS_LABELS = "evaluator.class_labels"
FURTHER_REFERENCE = "evaluator.further_reference"

FORMER: Mapping[str, Any] = {
    "budget.first_point": None,
    "budget.images_per_second": None,
    "dataset.bits": None,
    "dataset.load.bits": None,
    "dataset.fit": "crop",
    "dataset.load.fit": "crop",
    "dataset.train_images": None,
    CLASS_LABELS: "uniform",
    FURTHER_REFERENCE: None,
    "evaluator.every_sampler": False,
    "evaluator.reference": None,
    "model.build.label_classes": "uniform",
    "model.build.take": None,
    "model.take": None,
    "trainer.accumulate": 1,
    "trainer.keep": "last",
}
"""Settings that configurations of earlier versions lack, with the value that reproduces the earlier
behaviour. Every setting that is added to conf/ needs a line here."""

FORMER_DEFAULTS: Mapping[str, Any] = {
    "precision": "fp32",
    "dataset.channels": 3,
    "dataset.load.channels": 3,
    "dataset.flip": True,
    "dataset.load.flip": True,
    "model.build.features.locations": 256,
}
"""Settings that had another default in earlier versions: the precision, the data's for
`dataset=folder`, and the locations of `model=drifting`."""


class Changed(NamedTuple):
    """A default of one model that changed, and its value today."""

    former: Any
    present: Any


_SAMPLERS, _LATENT = "model.build.samplers", "model.build.diffusion.samplers"


def _samplers(*former: str) -> Changed:
    return Changed(list(former), ["dpmpp-10"])


def _of_hybrid(refining: Changed) -> dict[str, Changed]:
    """Samplers of a hybrid, whose diffusion model has a list of its own."""
    keys = ("model.refine.build.samplers", "model.build.refine.build.samplers")
    return {
        "model.build.sampler": Changed("ddim-20", "dpmpp-10"),
        "model.build.steps": Changed([2, 5, 10], [2]),
    } | dict.fromkeys(keys, refining)


_PAIR, _SMALL_PAIR = _samplers("ddpm-1000", "ddim-50"), _samplers("dpmpp-10", "ddim-10")

FORMER_SAMPLERS: Mapping[str, Mapping[str, Changed]] = {
    "cond_ddpm": {_SAMPLERS: _samplers("ddim-50", "ddim-50-cfg1.5", "ddim-50-cfg3")},
    "cond_ddpm_small": {_SAMPLERS: _samplers("dpmpp-10", "dpmpp-10-cfg2")},
    "cond_edm": {_SAMPLERS: _samplers("heun-18", "dpmpp-10", "dpmpp-10-cfg1.5")},
    "cond_edm_small": {_SAMPLERS: _samplers("heun-6", "dpmpp-10", "dpmpp-10-cfg2")},
    "ddpm": {_SAMPLERS: _PAIR},
    "ddpm_cosine": {_SAMPLERS: _PAIR},
    "ddpm_cosine_small": {_SAMPLERS: _SMALL_PAIR},
    "ddpm_mlp": {_SAMPLERS: Changed(_PAIR.former, ["ddim-50"])},
    "ddpm_small": {_SAMPLERS: _samplers("ddim-50", "ddim-10")},
    "dit": {_SAMPLERS: _PAIR},
    "dit_small": {_SAMPLERS: _SMALL_PAIR},
    "edm": {_SAMPLERS: _samplers("heun-18")},
    "edm_small": {_SAMPLERS: _samplers("heun-6", "dpmpp-10")},
    "hybrid": _of_hybrid(_PAIR),
    "hybrid_small": _of_hybrid(_samplers("ddim-50", "ddim-10")),
    "improved_ddpm": {_SAMPLERS: _samplers("ddpm-4000", "ddpm-100", "ddim-50")},
    "improved_ddpm_small": {_SAMPLERS: _samplers("ddpm-10", "dpmpp-10")},
    "latent_diffusion": {_LATENT: _samplers("ddim-50", "dpmpp-20")},
    "latent_diffusion_small": {_LATENT: _SMALL_PAIR},
    "simple_unet": {_SAMPLERS: _PAIR},
    "simple_unet_small": {_SAMPLERS: _SMALL_PAIR},
    "staged_diffusion": {_SAMPLERS: _PAIR},
    "staged_diffusion_small": {_SAMPLERS: _SMALL_PAIR},
    "x0_diffusion": {_SAMPLERS: _PAIR},
    "x0_diffusion_small": {_SAMPLERS: _SMALL_PAIR},
}
"""Default samplers of models that changed, by model and setting."""

FORMER_TARGETS: Mapping[str, str] = {
    "bench.lr_schedules.constant": "bench.training.recipe.constant",
    "bench.lr_schedules.cosine": "bench.training.recipe.cosine",
    "bench.lr_schedules.linear_to_zero": "bench.training.recipe.linear_to_zero",
    "bench.recipe.Recipe": "bench.training.recipe.Recipe",
    "bench.recorded.trained_or": "bench.runs.reload.trained_or",
    "models.diffusion.ddgan_discriminator.Discriminator": "models.diffusion.ddgan.Discriminator",
    "models.diffusion.dit.DiT": "models.diffusion.networks.dit.DiT",
    "models.diffusion.mlp.DenoiserMLP": "models.diffusion.networks.mlp.DenoiserMLP",
    "models.diffusion.simple_unet.SimpleUNet": "models.diffusion.networks.simple_unet.SimpleUNet",
    "models.diffusion.staged.StagedDiffusion": "models.diffusion.networks.staged.StagedDiffusion",
    "models.diffusion.unet.UNet": "models.diffusion.networks.unet.UNet",
    "models.diffusion.weightings.min_snr": "models.diffusion.parameterisations.min_snr",
    "models.diffusion.weightings.simple": "models.diffusion.parameterisations.simple",
    "models.diffusion.weightings.vlb": "models.diffusion.parameterisations.vlb",
    "models.gan.dcgan.Discriminator": "models.gan.networks.dcgan.Discriminator",
    "models.gan.dcgan.Generator": "models.gan.networks.dcgan.Generator",
    "models.gan.mlp.Discriminator": "models.gan.networks.mlp.Discriminator",
    "models.gan.mlp.Generator": "models.gan.networks.mlp.Generator",
    "models.gan.progressive.Discriminator": "models.gan.networks.progressive.Discriminator",
    "models.gan.progressive.Generator": "models.gan.networks.progressive.Generator",
    "models.gan.r3gan.Discriminator": "models.gan.networks.r3gan.Discriminator",
    "models.gan.r3gan.Generator": "models.gan.networks.r3gan.Generator",
    "models.gan.resnet.Discriminator": "models.gan.networks.resnet.Discriminator",
    "models.gan.resnet.Generator": "models.gan.networks.resnet.Generator",
    "models.gan.spectral.spectrally_normalised": "models.gan.networks.spectral.spectrally_normalised",  # noqa: E501
    "models.real.RealData": "models.stored.RealData",
    "models.samples.StoredSamples": "models.stored.StoredSamples",
}
"""Functions and classes whose names differ in configurations of earlier versions. Recipe hashes use
the former names, so that seeds of both versions share an entry."""

_FORMER_NAMES = {present: former for former, present in FORMER_TARGETS.items()}


def value_at(config: Any, key: str) -> Any:
    """The value of a setting such as "evaluator.samples"; ABSENT if there is none."""
    for part in key.split("."):
        config = config.get(part, ABSENT) if isinstance(config, Mapping) else ABSENT
    return config


def with_former(recorded: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    """Complete a recorded configuration with the former values of settings that it lacks.

    Args:
        recorded: the recorded configuration, in plain values.
        present: the current configuration.
    """
    completed = with_present_targets(recorded)
    for key, value in FORMER.items():
        if value_at(recorded, key) is ABSENT and value_at(present, key) is not ABSENT:
            *above, name = key.split(".")
            place = completed
            for part in above:
                place = place.get(part) if isinstance(place, dict) else None
            if isinstance(place, dict):
                place[name] = value
    return completed


def with_present_targets(config: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the `_target_`s of a recorded configuration to their current names.

    Args:
        config: plain values.
    """
    return {name: _renamed(name, value, FORMER_TARGETS) for name, value in config.items()}


def without_former(tree: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """A part of a configuration with former names and without settings of former values.

    Args:
        tree: the part, in plain values.
        prefix: the key of that part, such as "model".
    """
    kept = {}
    for name, value in tree.items():
        key = f"{prefix}.{name}"
        if key in FORMER and FORMER[key] == value:
            continue
        if isinstance(value, Mapping):
            kept[name] = without_former(value, key)
        else:
            kept[name] = _renamed(name, value, _FORMER_NAMES)
    return kept


def recipe_hash(model: Mapping[str, Any], *, flip: bool, overrides: Sequence[str] = ()) -> str:
    """Hash of all that decides what is learned: the model's whole configuration and the flips.

    Variants name what the command line changed; this also changes when a YAML file does, but not by
    a setting that was added (`FORMER`) or by new default samplers (`FORMER_SAMPLERS`).
    """
    former = as_hashed(model, overrides)
    text = json.dumps({"model": former, "flip": flip}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def as_hashed(model: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A model's configuration as recipe hashes of every version have it.

    Args:
        model: the part "model" of a configuration, in plain values.
        overrides: of the command line.
    """
    given = [override.lstrip("+").partition("=")[0] for override in overrides]
    return without_former(with_former_samplers(model, given), "model")


def with_former_samplers(model: Mapping[str, Any], overridden: Collection[str]) -> dict[str, Any]:
    """A model's configuration with the former samplers where it has today's default ones.

    Samplers decide nothing that is learned, so recipe hashes must not change with their default.

    Args:
        model: the part "model" of a configuration, in plain values.
        overridden: settings that the command line gives, which are kept.
    """
    config: dict[str, Any] = {"model": deepcopy(dict(model))}
    for key, (former, present) in FORMER_SAMPLERS.get(str(model.get("name")), {}).items():
        *above, name = key.split(".")
        keys = {key, key.replace("model.build.", "model.", 1)}  # one may interpolate the other
        if keys.isdisjoint(overridden) and value_at(config, key) == present:
            reduce(dict.__getitem__, above, config)[name] = former
    return config["model"]


def _former_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Former values of the settings of a configuration that differ from today's defaults."""
    samplers = FORMER_SAMPLERS.get(str(value_at(config, "model.name")), {})
    changed = {key: former for key, (former, _) in samplers.items()}
    return {**FORMER, **FORMER_DEFAULTS, **changed}


def overrides_of_before(
    overrides: Sequence[str], config: Mapping[str, Any]
) -> Iterator[tuple[str, ...]]:
    """Subsets of the overrides, without some that request former defaults.

    Commands of earlier versions did not need these and thus named another run directory. The
    smallest subsets come first.

    Args:
        overrides: overrides of the command line.
        config: the resolved configuration.
    """
    former = _former_defaults(config)
    keys = [override.lstrip("+").split("=", 1)[0] for override in overrides]
    asking = [
        k for k, key in enumerate(keys) if key in former and value_at(config, key) == former[key]
    ]
    for count in range(len(asking), 0, -1):
        for left_out in combinations(asking, count):
            yield tuple(o for k, o in enumerate(overrides) if k not in left_out)


def remedy(keys: Sequence[str], recorded: Mapping[str, Any]) -> str:
    """The overrides that continue a run of an earlier version; empty if there are none.

    Args:
        keys: the settings that differ from the current configuration.
        recorded: the recorded configuration, see `with_former`.
    """
    former = _former_defaults(recorded)
    if any(key not in former or value_at(recorded, key) != former[key] for key in keys):
        return ""
    return " ".join(f"{key}={_written(former[key])}" for key in settable(keys))


def settable(keys: Sequence[str]) -> list[str]:
    """The keys without those that interpolate another one of them."""
    repeated = {"dataset.load.": "dataset.", "model.build.": "model."}
    return [
        key
        for key in keys
        if not any(
            key.startswith(below) and above + key.removeprefix(below) in keys
            for below, above in repeated.items()
        )
    ]


def _written(value: Any) -> str:
    """A value in the syntax of the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    return value if isinstance(value, str) else json.dumps(value)


def _renamed(name: str, value: Any, names: Mapping[str, str]) -> Any:
    """Copy of a value of a configuration with renamed `_target_`s."""
    if isinstance(value, Mapping):
        return {key: _renamed(key, below, names) for key, below in value.items()}
    if isinstance(value, list):
        return [_renamed("", below, names) for below in value]
    return names.get(value, value) if name == "_target_" and isinstance(value, str) else value
