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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests of whole commands, the longest, so that no process ends with them."""
    items.sort(key=lambda item: item.path.parent != Path(__file__).parent)
