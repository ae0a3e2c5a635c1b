"""`python -m bench` within the process of the tests, which saves seconds of imports."""

import hydra

from bench.run import RunResult, run


def bench(*overrides: str) -> RunResult:
    """Do what the command does with these overrides.

    Raises:
        RunError: what the command shows as a sentence, with exit code 2.
    """
    with hydra.initialize_config_module("conf", version_base="1.3"):
        cfg = hydra.compose("config", list(overrides))
    return run(cfg, list(overrides))
