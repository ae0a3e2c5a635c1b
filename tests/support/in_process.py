"""`python -m bench` within the process of the tests, which saves seconds of imports."""

import hydra
from omegaconf import DictConfig

from bench.run import RunResult, run


def compose(*overrides: str) -> DictConfig:
    """The configuration of a command with these overrides."""
    with hydra.initialize_config_module("conf", version_base="1.3"):
        return hydra.compose("config", list(overrides))


def bench(*overrides: str) -> RunResult:
    """Do what the command does with these overrides.

    Raises:
        RunError: what the command shows as a sentence, with exit code 2.
    """
    return run(compose(*overrides), list(overrides))
