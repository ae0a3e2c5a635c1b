"""What an experiment sweeps: named grids of overrides in its YAML, and the command lines they are.

A grid is written as Hydra's overrides are, so that each becomes one multirun:

    sweep:
      families: {seed: '0,1,2', model: 'dcgan_small,ddpm_small'}
      width: {seed: '0,1,2', model: dcgan_small, model.build.generator.width: '16,64'}

The first key of a grid varies slowest. On the command line `sweep=families` picks grids, and an
override given there replaces a grid's own.
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files

import yaml

from bench.arguments import is_multirun, key, values

SWEEP = "sweep"
"""Key of the grids in an experiment's YAML and, on the command line, of those wanted."""

Grids = Mapping[str, Mapping[str, object]]


def expand(arguments: Sequence[str]) -> list[list[str]]:
    """The command lines of one: a line for each grid of its experiment, or the line itself.

    Args:
        arguments: of `python -m bench`.

    Returns:
        Arguments for Hydra, none of them with `sweep=`.

    Raises:
        ValueError: `sweep=` names no grid of the experiment, the experiment is a sweep and is not
            called as one, or its grids are not written as they should be.
    """
    experiments = values(arguments, "experiment")
    if len(experiments) > 1:
        others = [a for a in arguments if key(a) != "experiment"]
        named = [[*others, f"experiment={name}"] for name in experiments]
        return [line for arguments in named for line in expand(arguments)]
    experiment = experiments[0] if experiments else None
    wanted = values(arguments, SWEEP)
    rest = [a for a in arguments if key(a) != SWEEP]
    grids = read_grids(experiment) if experiment else {}
    if not grids:
        if wanted:
            what = (
                f"experiment={experiment} has no grids" if experiment else "no experiment is named"
            )
            names = ",".join(map(str, wanted))
            raise ValueError(
                f"sweep={names} picks grids of an experiment, and {what}: leave it out"
            )
        return [rest]
    if not is_multirun(rest):
        return [_single(rest, experiment or "", grids)]
    return [_with_grid(rest, grids[name]) for name in _chosen(wanted, experiment or "", grids)]


def read_grids(experiment: str) -> Grids:
    """The grids of conf/experiment/<experiment>.yaml; empty where it has none, or there is none.

    Raises:
        ValueError: what stands below `sweep` is not a mapping of names to grids.
    """
    file = files("conf") / "experiment" / f"{experiment}.yaml"
    if not file.is_file():  # Hydra says which experiments there are
        return {}
    grids = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get(SWEEP, {})
    if not isinstance(grids, dict) or not all(isinstance(grid, dict) for grid in grids.values()):
        raise ValueError(
            f"conf/experiment/{experiment}.yaml: {SWEEP} must map names to grids of overrides"
        )
    return grids


def _chosen(wanted: Sequence[object], experiment: str, grids: Grids) -> list[str]:
    names = [str(name) for name in wanted] or list(grids)
    if unknown := [name for name in names if name not in grids]:
        raise ValueError(
            f"sweep={','.join(unknown)}: experiment={experiment} has the grids {', '.join(grids)}"
        )
    return names


def _single(arguments: list[str], experiment: str, grids: Grids) -> list[str]:
    """The arguments of one job of an experiment; it must say which."""
    given = {key(argument) for argument in arguments}
    if "model" not in given and any("model" in grid for grid in grids.values()):
        raise ValueError(
            f"experiment={experiment} is a sweep: add -m to run it, or name one run of it, as in "
            f"model=… seed=0"
        )
    return arguments


def _with_grid(arguments: list[str], grid: Mapping[str, object]) -> list[str]:
    """The arguments with the grid's overrides that they do not replace."""
    given = {key(argument) for argument in arguments}
    return [
        *arguments,
        *(f"{name}={text(value)}" for name, value in grid.items() if name not in given),
    ]


def text(value: object) -> str:
    """A value as Hydra's overrides write it: true and null as YAML does."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
