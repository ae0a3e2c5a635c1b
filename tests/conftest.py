"""Options of the tests, and the files that take longest."""

import logging
from collections import Counter
from collections.abc import Iterator
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


@pytest.fixture(autouse=True)
def loggers_as_they_were() -> Iterator[None]:
    """Undo that Hydra silences all loggers, where a test has it run jobs in this process."""
    level = logging.root.level
    yield
    if logging.root.level != level:
        logging.root.setLevel(level)
    for name, logger in logging.root.manager.loggerDict.items():
        if name.partition(".")[0] == "bench" and isinstance(logger, logging.Logger):
            logger.disabled = False


SHOWN = 25
"""Files whose seconds are shown."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With --durations, say which files take longest in all: many small tests add up as well."""
    if terminalreporter.config.getoption("durations") is None:
        return
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    terminalreporter.section(f"seconds by file, {seconds.total():.0f} in all")
    for file, total in seconds.most_common(SHOWN):
        terminalreporter.line(f"{total:8.1f} s  {file}")
