"""The optional packages of pyproject.toml: how to install what is missing."""

import importlib.util
from collections.abc import Sequence

LAUNCHERS = {
    "joblib": ("joblib", "hydra_joblib_launcher"),
    "submitit_slurm": ("slurm", "hydra_submitit_launcher"),
    "submitit_local": ("slurm", "hydra_submitit_launcher"),
    "ray": ("ray", "hydra_ray_launcher"),
    "ray_aws": ("ray", "hydra_ray_launcher"),
}
"""Hydra's launchers: the extra that installs each, and its package in `hydra_plugins`."""


def install(extra: str) -> str:
    """The command that installs an extra, for a message.

    The project is not published: a command with its name would install whatever bears that name.
    """
    return f"pip install -e '.[{extra}]' in the folder of this repository"


def check_launcher(arguments: Sequence[str]) -> None:
    """Refuse a launcher of Hydra whose package is not installed, saying how to install it.

    Args:
        arguments: of `python -m bench`.

    Raises:
        ValueError: naming the launcher and the command.
    """
    for argument in arguments:
        key, _, launcher = argument.partition("=")
        if key.lstrip("+") != "hydra/launcher" or launcher not in LAUNCHERS:
            continue
        extra, package = LAUNCHERS[launcher]
        if not _found(f"hydra_plugins.{package}"):
            raise ValueError(f"{argument} needs an optional package: {install(extra)}")


def _found(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # nor is there any other plugin
        return False
