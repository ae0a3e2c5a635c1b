"""Settings of a run: types, ranges and checks, and the run directory that they determine.

A setting is one field here, whose annotation says its kind, whether it may be null, and its rules.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from bench.columns import NOMINAL
from bench.errors import nearest_of
from bench.former import ABSENT, FORMER, value_at
from bench.names import MAX_NAME, NAME_RULE, is_name

Rule = Callable[[str, Any], str | None]
"""Says what is wrong with the value of a setting, given its key; None if nothing is."""

KINDS: Mapping[Any, str] = {
    Callable: "a function",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "text",
    Mapping: "a group of settings",
    Sequence: "a list",
    NoneType: "null",
}
"""What a value must be, in words."""


def must(holds: Callable[[Any], bool], what: str) -> Rule:
    """A rule that is said as "KEY must …, got …"."""
    return lambda key, value: None if holds(value) else f"{key} must {what}, got {_short(value)}"


def at_least(least: int) -> Rule:
    """No number below one."""
    return must(lambda value: value >= least, f"be at least {least}")


def _at_most(most: str, why: str) -> Rule:
    """No number above one that has a reason; more words may follow the number."""
    limit = float(most.partition(",")[0])
    return lambda key, value: (
        f"{key}={_short(value)} {why}: set it to at most {most}" if value > limit else None
    )


def _finite(key: str, value: float) -> str | None:
    return f"{key} must be finite, got {value}: null is unlimited" if value == math.inf else None


POSITIVE = must(lambda value: value > 0, "be positive")
NOT_NEGATIVE = must(lambda value: value >= 0, "not be negative")

MAX_SEED = 2**63 - 1
"""Largest seed that every generator of random numbers here takes."""

MIN_SAMPLES = 10
"""Fewest samples that every metric is defined for: IS takes 10 splits."""

MAX_CHECKPOINTS = 10_000
"""Most evaluation points of a run."""

_SPENT = "cannot be spent by any machine"
"""Largest budgets: 10 million images a second for three years, more FLOPs than any training."""

_EVALUATED = "would evaluate the model as many times, with all its samplers"

MAX_THREADS = 1024
"""Most CPU threads of a run; far more of them than cores exhaust the system."""


def _named(key: str, text: str) -> str | None:
    shown = text if len(text) <= MAX_NAME else f"{text[:20]}…"
    return None if is_name(text) else f"{key} must be {NAME_RULE}, got {shown!r}"


def _named_below(key: str, load: Mapping[str, Any]) -> str | None:
    return _wrong(f"{key}.name", load["name"], Name) if "name" in load else None


def _paths(key: str, paths: str | Mapping[str, Any]) -> str | None:
    given = {} if isinstance(paths, str) else paths
    wrong = (_wrong(f"{key}.{name}", path, str | None) for name, path in given.items())
    return next(filter(None, wrong), None)


def _threads(key: str, value: int) -> str | None:
    if value < 1:
        return f"{key} must be at least 1 or null, got {value}"
    if value <= MAX_THREADS:
        return None
    from bench.runtime.cores import cores  # what reads files is not light

    most = f"at most {MAX_THREADS} or null"
    return f"{key} must be {most}, got {value}: this machine has {cores()} cores"


SHARED = "shared"
"""Marks a setting at the top of the configuration, which several sections take from there."""

Seed = Annotated[
    int, SHARED, NOT_NEGATIVE, must(lambda seed: seed <= MAX_SEED, f"be at most {MAX_SEED}")
]
Precision = Annotated[Literal["auto", "fp32", "bf16"], SHARED]
Name = Annotated[str, _named]


@dataclass(frozen=True)
class Section:
    """A part of the settings; every one that is made has been checked.

    Raises:
        ValueError: naming the setting, the value and what it must be.
    """

    prefix: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Refuse values of another kind than a setting takes, and those that break its rules."""
        for setting in fields(self):
            value = getattr(self, setting.name)
            if said := _wrong(_key(type(self), setting), value, setting.type):
                raise ValueError(said)


@dataclass(frozen=True)
class DatasetSettings(Section):
    """Which data; what else stands in its YAML is handed to `load` by interpolation.

    Attributes:
        name: in tables and in the paths of runs.
        load: called with the roots, gives a `bench.data.dataset.Dataset`.
        flip: whether training images are mirrored at random.
        train_images: how many of the training images models see; None for all.
    """

    prefix = "dataset."
    name: Name
    load: Annotated[Mapping[str, Any], _named_below]
    flip: bool
    train_images: Annotated[int | None, at_least(2)] = None


@dataclass(frozen=True)
class ModelSettings(Section):
    """Which model; what else stands in its YAML is handed on by interpolation.

    Attributes:
        name: in tables and in the paths of runs.
        build: called with a `models.base.DataSpec`, gives a `models.base.GenerativeModel`.
        training: gives a `bench.training.recipe.Recipe`.
    """

    prefix = "model."
    name: Name
    build: Mapping[str, Any]
    training: Mapping[str, Any]


@dataclass(frozen=True)
class Budget(Section):
    """Limits on training; whichever is reached first ends it, None means unlimited.

    The step in which a limit is reached is completed, so a run overshoots by less than one step.

    Attributes:
        images: real images shown to the first phase (StyleGAN's convention, there in thousands).
        seconds: training time without evaluation and checkpoints.
        flops: floating-point operations of training.
        images_per_second: nominal speed of training, by which `seconds` are counted in images
            instead of by the clock; None for the clock.
        checkpoints: points along the budget at which the model is saved and evaluated; the last
            one is the end.
        first_point: share of the budget at the first of them, in (0, 1), from which on they lie at
            equal ratios; None for equal distances.
        images_by_default: takes the place of `images` where there is no limit at all.
    """

    prefix = "budget."
    images: Annotated[float | None, POSITIVE, _finite, _at_most("1e+15", _SPENT)] = None
    seconds: Annotated[float | None, POSITIVE, _finite, _at_most("31622400, a year", _SPENT)] = None
    flops: Annotated[float | None, POSITIVE, _finite, _at_most("1e+27", _SPENT)] = None
    images_per_second: Annotated[float | None, POSITIVE, _finite] = None
    checkpoints: Annotated[int, at_least(1), _at_most(str(MAX_CHECKPOINTS), _EVALUATED)] = 1
    first_point: Annotated[float | None, POSITIVE, must(lambda x: x < 1, "be below 1")] = None
    images_by_default: float | None = None

    def __post_init__(self) -> None:
        """Refuse budgets under which nothing could be trained."""
        if not self._given():
            object.__setattr__(self, "images", self.images_by_default)
        super().__post_init__()
        if not self._given():
            raise ValueError(
                "the budget is unlimited: set at least one of budget.images, budget.seconds, "
                "budget.flops"
            )
        if self.images_per_second is not None and self.seconds is None:
            raise ValueError(
                "budget.images_per_second is the speed by which budget.seconds are counted, and "
                "there are none: set budget.seconds, or leave it out"
            )
        if self.first_point is not None and self.checkpoints == 1:
            raise ValueError(
                f"budget.first_point={self.first_point:g} is the first of several evaluation "
                "points, and budget.checkpoints=1: set budget.checkpoints to at least 2"
            )

    @property
    def shares(self) -> list[float]:
        """Shares of the budget at the evaluation points, ascending; the last one is 1."""
        n, first = self.checkpoints, self.first_point
        if first is None:
            return [k / n for k in range(1, n + 1)]
        return [first ** (1 - k / (n - 1)) for k in range(n)]

    def check_points(self, batch_size: int) -> None:
        """Refuse more evaluation points than training steps: some would have the same weights.

        Args:
            batch_size: images of one step.

        Raises:
            ValueError: naming the number of steps.
        """
        images = self.limits().get("images")
        if images is None:
            return
        steps = math.ceil(images / batch_size)
        if self.checkpoints > steps:
            raise ValueError(
                f"budget.checkpoints={self.checkpoints}, but {images:.12g} images in batches "
                f"of {batch_size} are {steps} steps: set it to at most {steps}"
            )
        apart = min(b - a for a, b in pairwise([0.0, *self.shares]))
        if self.first_point is not None and apart * steps < 1:
            raise ValueError(
                f"budget.first_point={self.first_point:g} puts evaluation points less than one of "
                f"{steps} steps apart: set it higher, or set fewer budget.checkpoints"
            )

    def limits(self) -> dict[str, float]:
        """The limits that are set, by name; nominal seconds limit images."""
        limits = self._given()
        if self.images_per_second is not None and self.seconds is not None:
            nominal = limits.pop("seconds") * self.images_per_second
            limits = {"images": min(nominal, limits.pop("images", nominal)), **limits}
        return limits

    def __str__(self) -> str:
        """The limits in one line, such as "seconds=120"; the same for equal budgets.

        Budgets of nominal seconds are equal whatever the speed of each model.
        """
        limits = [f"{name}={limit:.12g}" for name, limit in self._given().items()]
        return ",".join([*limits, *([NOMINAL] if self.images_per_second is not None else [])])

    def _given(self) -> dict[str, float]:
        """The limits as they are given, by name."""
        limits = {"images": self.images, "seconds": self.seconds, "flops": self.flops}
        return {name: limit for name, limit in limits.items() if limit is not None}


@dataclass(frozen=True)
class TrainerSettings(Section):
    """How the trainer works, whatever the model.

    Attributes:
        seed: of all random numbers of training.
        precision: of the losses, as of the run; weights are always float32.
        log_every: steps between two rows of losses.
        checkpoint_seconds: longest training time that a kill can cost.
        compile: whether losses go through torch.compile.
        accumulate: into how many equal parts each batch is divided, whose gradients are averaged.
        keep: "best" also keeps, and evaluates at the end, the weights of the evaluation point with
            the lowest FID on held-out data (`bench.runs.best`); "last" does not.
    """

    prefix = "trainer."
    seed: Seed = 0
    precision: Precision = "fp32"
    log_every: Annotated[int, at_least(1)] = 50
    checkpoint_seconds: Annotated[float, NOT_NEGATIVE] = 60.0
    compile: bool = False
    accumulate: Annotated[int, at_least(1)] = 1
    keep: Literal["last", "best"] = "last"


@dataclass(frozen=True)
class EvaluatorSettings(Section):
    """How models are evaluated, whatever they are.

    Attributes:
        samples: number of samples of each sampler; None for the size of the test split.
        batch_size: number of samples generated at a time.
        seed: seed of the samples.
        precision: of sampling, as of the run; features are always extracted in fp32.
        cost_seconds: most seconds spent on timing one sampler; 0 leaves the costs out.
        resamples: bootstrap replicates of the intervals; 0 for none. The most fix ends to 0.3 %.
        class_labels: classes asked of class-conditional models, as in the "data" or "uniform".
        every_sampler: whether all samplers are scored at every evaluation point, and not only the
            first one before the last point.
        extractor: what sees the samples, one or several; None for what suits the data.
        weights: local paths of extractors' weights; None for shipped or published ones.
        further_reference: training images for extractors after the first; None for all.
        reference: published statistics that FID is measured to, the path of a file for the
            extractor that it fits, or paths by extractor; None for the training images.
    """

    prefix = "evaluator."
    samples: Annotated[int | None, at_least(MIN_SAMPLES)] = None
    batch_size: Annotated[int, at_least(1)] = 250
    seed: Seed = 0
    precision: Precision = "fp32"
    cost_seconds: Annotated[
        float, NOT_NEGATIVE, _at_most("3600", "is the time spent on timing each sampler")
    ] = 0.0
    resamples: Annotated[
        int, NOT_NEGATIVE, _at_most("100000", "would take hours and make no interval better")
    ] = 0
    class_labels: Literal["data", "uniform"] = "data"
    every_sampler: bool = False
    extractor: str | Sequence[str] | None = None
    weights: Annotated[Mapping[str, str | None], _paths] = field(default_factory=dict)
    further_reference: Annotated[int | None, at_least(100)] = None
    reference: Annotated[str | Mapping[str, str | None] | None, _paths] = None


@dataclass(frozen=True)
class LoggerSettings(Section):
    """The mirror of a run in Weights & Biases.

    Attributes:
        wandb: "offline" (files that `wandb sync` uploads later), "online", or "disabled".
        project: W&B project.
        group: W&B group; None for the sweep's own name.
    """

    prefix = "logger."
    wandb: Literal["disabled", "offline", "online"] = "disabled"
    project: str = "gan-vs-diffusion"
    group: str | None = None


@dataclass(frozen=True)
class Settings(Section):
    """All settings of a run, conf/config.yaml.

    Attributes:
        seed: of initial weights, training and samples.
        precision: see `bench.runtime.device.resolve_precision`; a run replaces "auto".
        device: auto, cpu, cuda or cuda:N.
        threads: CPU threads; None for the cores to use, shared by parallel jobs.
        data_root: where data sets lie and are downloaded to.
        cache_root: decoded data and reference features; None for the user's cache.
        results_root: runs are written below it.
    """

    seed: Seed
    precision: Precision
    device: str
    threads: Annotated[int | None, _threads]
    data_root: Path
    cache_root: Path | None
    results_root: Path
    dataset: DatasetSettings
    model: ModelSettings
    budget: Budget
    evaluator: EvaluatorSettings
    trainer: TrainerSettings
    logger: LoggerSettings


CLOSED = ("budget", "evaluator", "trainer", "logger")
"""Sections in which each setting is a field; elsewhere more may stand, to be interpolated."""

S = TypeVar("S", bound=Section)


def read_settings(config: Mapping[str, Any], *, recorded: bool = False) -> Settings:
    """The settings of a configuration.

    Args:
        config: the resolved configuration, of plain values.
        recorded: whether it was recorded by a run, perhaps of an earlier version: what it lacks is
            as it was then (`bench.former`).

    Raises:
        ValueError: naming the setting, the value and what it must be.
    """
    return _read(Settings, config, recorded)


def setting_keys(section: type[Section] = Settings) -> list[str]:
    """The keys of all settings, such as "evaluator.samples"; shared ones once a section."""
    keys = []
    for setting in fields(section):
        if isinstance(setting.type, type) and issubclass(setting.type, Section):
            keys += setting_keys(setting.type)
        else:
            keys.append(_key(section, setting))
    return keys


def _read(section: type[S], config: Mapping[str, Any], recorded: bool) -> S:
    values = {}
    for setting in fields(section):
        if isinstance(setting.type, type) and issubclass(setting.type, Section):
            values[setting.name] = _read(setting.type, config, recorded)
            continue
        key = _key(section, setting)
        value = value_at(config, key)
        if value is ABSENT and recorded:
            value = FORMER.get(key, ABSENT)
        kinds, _ = _asked(setting.type)
        if value is ABSENT:
            remedy = f"it must be {_words(kinds)}"
            if recorded:
                remedy = "bring the file back, or do not use this run"
            raise ValueError(f"{key} is missing: {remedy}")
        values[setting.name] = Path(value) if Path in kinds and isinstance(value, str) else value
    if (name := section.prefix.rstrip(".")) in CLOSED and not recorded:
        _check_names(section, config[name])
    return section(**values)


def _check_names(section: type[Section], given: Mapping[str, Any]) -> None:
    """Refuse what is no setting of a closed section, or is one of the whole run."""
    own = [f.name for f in fields(section) if _key(section, f) != f.name]
    for wrong in sorted(given.keys() - own, key=str):
        if wrong in (f.name for f in fields(section)):
            raise ValueError(f"{section.prefix}{wrong} is set for the whole run: give {wrong}=…")
        raise ValueError(f"{section.prefix}{wrong} is no setting: {nearest_of(str(wrong), own)}")


def _key(section: type[Section], setting: Any) -> str:
    """The key of a setting in the whole configuration, such as "evaluator.samples"."""
    shared = SHARED in getattr(setting.type, "__metadata__", ())
    return setting.name if shared else section.prefix + setting.name


def _asked(annotation: Any) -> tuple[tuple[Any, ...], tuple[Rule, ...]]:
    """The kinds that a value may be of, and the rules for it."""
    metadata = getattr(annotation, "__metadata__", ())
    bare = get_args(annotation)[0] if metadata else annotation
    kinds = get_args(bare) if get_origin(bare) in (Union, UnionType) else (bare,)
    plain = (kind if get_origin(kind) in (None, Literal) else get_origin(kind) for kind in kinds)
    return tuple(plain), tuple(rule for rule in metadata if rule != SHARED)


def _words(kinds: Sequence[Any]) -> str:
    """The kinds in words, such as "a whole number or null"."""
    words = [word for kind in kinds for word in get_args(kind) or (KINDS[kind],)]
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _wrong(key: str, value: Any, annotation: Any) -> str | None:
    """What is wrong with a value, in a sentence; None if nothing is."""
    kinds, rules = _asked(annotation)
    if not any(_is(value, kind) for kind in kinds):
        return f"{key} must be {_words(kinds)}, got {value!r}{_advice(key, value, kinds)}"
    said = (rule(key, value) for rule in rules if value is not None)
    return next(filter(None, said), None)


def _is(value: object, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if isinstance(value, bool):
        return kind is bool
    if kind is Sequence:
        return isinstance(value, Sequence) and not isinstance(value, str)
    return isinstance(value, (int, float) if kind is float else kind)


def _advice(key: str, value: object, kinds: Sequence[Any]) -> str:
    """How to write a whole number that was written as 1e6, and text that YAML reads as a number."""
    if KINDS[str] in map(KINDS.get, kinds) and isinstance(value, (int, float)):
        return f": quote it, as in '{key}=\"{value}\"'"
    if int in kinds and isinstance(value, float) and value.is_integer():
        return f": write {int(value)}"
    return ""


def _short(number: float) -> str:
    """A number in at most 26 letters; a whole one may have thousands of digits."""
    text = str(number)
    return text if len(text) <= 26 else f"{text[:25]}…"
