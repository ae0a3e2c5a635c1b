"""Optional packages of pyproject.toml, and how to install them."""

import importlib.util
import os
from collections.abc import Sequence

LAUNCHERS = {
    "joblib": ("joblib", "hydra_joblib_launcher"),
    "submitit_slurm": ("slurm", "hydra_submitit_launcher"),
    "submitit_local": ("slurm", "hydra_submitit_launcher"),
    "ray": ("ray", "hydra_ray_launcher"),
    "ray_aws": ("ray", "hydra_ray_launcher"),
}
"""Hydra's launchers, with their extra and their package in `hydra_plugins`."""


def install(extra: str) -> str:
    """The command that installs an extra, for error messages.

    The project is not published, so a command with its name would install another package.
    """
    return f"pip install -e '.[{extra}]' in the folder of this repository"


def check_launcher(arguments: Sequence[str]) -> None:
    """Refuse a Hydra launcher whose package is not installed, or that torchrun would multiply.

    Args:
        arguments: arguments of `python -m bench`.

    Raises:
        ValueError: naming the launcher and what to do.
    """
    for argument in arguments:
        key, _, launcher = argument.partition("=")
        if key.lstrip("+") != "hydra/launcher" or launcher not in LAUNCHERS:
            continue
        extra, package = LAUNCHERS[launcher]
        if not _found(f"hydra_plugins.{package}"):
            raise ValueError(f"{argument} needs an optional package: {install(extra)}")
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ValueError(
                f"{argument} under torchrun: each of its processes would start every job, leave "
                "the launcher out, or torchrun"
            )


def _found(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # no plugin is installed at all
        return False
