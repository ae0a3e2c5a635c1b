"""Names on the command line that do not exist, refused with the nearest ones before any job."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_module
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.command_line import each_value, key, overrides_in, search_path
from bench.errors import did_you_mean, nearest_of
from bench.former import settable

GROUPS = ("model", "dataset", "budget", "evaluator", "logger", "experiment")
"""Groups of files in conf/ of which a command chooses one, the defaults of conf/config.yaml."""


def check_choices(arguments: Sequence[str]) -> None:
    """Refuse unknown choices of a group and unknown settings, for all jobs of a command line.

    Every combination of choices is composed once, without the other overrides, whose keys are then
    looked up. What else may be wrong with a line is left to Hydra.

    Args:
        arguments: of `python -m bench`, without `sweep=`.

    Raises:
        ValueError: naming the first unknown word, the nearest known ones, and all of them.
        SystemExit: Hydra does not take the flags, and has said so.
    """
    flags, _ = get_args_parser().parse_known_args(list(arguments))
    words = overrides_in(arguments)
    if flags.config_name is not None or any(key(word) == "hydra.searchpath" for word in words):
        return  # other configurations than these

    def chooses(word: str) -> bool:
        own = flags.config_dir is not None and (Path(flags.config_dir) / key(word)).is_dir()
        return own or key(word) in GROUPS or "/" in key(word)

    settings = [w for w in words if not chooses(w) and not key(w).startswith("hydra")]
    path = search_path(arguments)
    for choice in product(*map(each_value, filter(chooses, words))):
        config = _composed((*path, *choice))
        if config is not None:
            _check_keys(config, settings)


@cache
def _composed(choices: tuple[str, ...]) -> Mapping[str, Any] | None:
    """The unresolved configuration of these choices; None if Hydra refuses them otherwise.

    Raises:
        ValueError: a choice is unknown.
    """
    try:
        with initialize_config_module("conf", version_base="1.3"):
            composed = OmegaConf.to_container(compose("config", list(choices)))
    except MissingConfigException as error:
        group, _, name = (error.missing_cfg_file or "").rpartition("/")
        if not group or not error.options:
            return None
        what = group.rpartition("/")[2]
        remedy = nearest_of(name, list(error.options))
        raise ValueError(f"{group}={name} names no {what}: {remedy}") from error
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        raise ValueError(f"a file of --config-dir is no YAML: {said}") from error
    except (HydraException, OmegaConfBaseException):
        return None
    return {str(k): v for k, v in composed.items()} if isinstance(composed, dict) else None


def _check_keys(config: Mapping[str, Any], words: Sequence[str]) -> None:
    """Refuse overrides of settings that are neither in the configuration nor added by others."""
    given = [key(word) for word in words]
    added = {key(word) for word in words if word.startswith("+")}
    for word, name in zip(words, given, strict=True):
        below = any(name.startswith(f"{other}.") for other in given)
        if below or name in added or "@" in name or not ("=" in word or word.startswith("~")):
            continue
        if _has(config, name):
            continue
        raise ValueError(f"{name} is no setting: {_remedy(config, name)}")


def _has(config: Any, name: str) -> bool:
    for part in name.split("."):
        if not isinstance(config, Mapping):
            return config is not None  # an item of a list, or below what is interpolated
        if part not in config:
            return False
        config = config[part]
    return True


def _remedy(config: Mapping[str, Any], name: str) -> str:
    """The nearest settings, then those beside the unknown one."""
    section, place = "", config
    for part in name.split(".")[:-1]:
        below = place.get(part)
        if not isinstance(below, Mapping):
            break
        section, place = f"{section}.{part}".lstrip("."), below
    near = did_you_mean(name, (*GROUPS, *settable(list(_keys(config)))))
    there = ", ".join(word for word in place if not word.startswith("_"))
    top = section.partition(".")[0]
    where = f"{section} of {config[top]['name']}" if "name" in config.get(top, ()) else section
    if near:
        return f"{near} {where or 'The configuration'} has {there}"
    more = f"; +{name}=… hands it to {place['_target_']}" if "_target_" in place else ""
    return f"{where or 'the configuration'} has {there}{more}"


def _keys(config: Mapping[str, Any], section: str = "") -> Iterator[str]:
    """Names of all settings below one, such as "model.training.batch_size"."""
    for name, value in config.items():
        if not str(name).startswith("_"):
            yield f"{section}{name}"
            if isinstance(value, Mapping):
                yield from _keys(value, f"{section}{name}.")
