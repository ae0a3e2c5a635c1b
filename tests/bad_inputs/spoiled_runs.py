"""Ways to spoil a finished run."""

import json
from pathlib import Path
from typing import Any

import yaml
from bad_files import Prepare

AGAIN = "delete this file and give the run's command again, which goes on from the last checkpoint"


def no_change(run: Path) -> None:
    """Leave the finished run as it is."""


def with_config(old: str, new: str) -> Prepare:
    def spoil(run: Path) -> None:
        config = (run / "config.yaml").read_text()
        assert old in config
        (run / "config.yaml").write_text(config.replace(old, new))

    return spoil


def multiplied() -> bytes:
    """YAML that stands for 9 ** 40 values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 40)]
    return "\n".join(lines).encode()


def with_latent_dim(value: str) -> Prepare:
    def spoil(run: Path) -> None:
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["model"]["build"]["latent_dim"] = value
        (run / "config.yaml").write_text(yaml.safe_dump(config))

    return spoil


def damage_checkpoints(run: Path) -> None:
    (run / "status.json").unlink()
    for checkpoint in (run / "checkpoints").iterdir():
        checkpoint.write_bytes(b"cat")


def with_status(**values: Any) -> Prepare:
    """Change the status of the run."""

    def spoil(run: Path) -> None:
        written = json.loads((run / "status.json").read_text())
        (run / "status.json").write_text(json.dumps(written | values))

    return spoil


def with_data(**values: Any) -> Prepare:
    """Change what a run recorded of its data."""

    def spoil(run: Path) -> None:
        written = json.loads((run / "data.json").read_text())
        (run / "data.json").write_text(json.dumps(written | values))

    return spoil
