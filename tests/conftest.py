"""Options of the tests."""

from pathlib import Path

import pytest

import conf


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--config-dir",
        type=lambda folder: Path(folder).expanduser().resolve(),
        default=Path(conf.__file__).parent,
        help="folder whose model/*.yaml tests/models/test_contract.py checks (default: conf)",
    )
