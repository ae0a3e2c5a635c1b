"""Safe printing: no terminal control sequences, and a closed pipe stops only the output."""

import errno
import logging
import os
import subprocess
import sys

import pytest

from bench import cli
from bench.errors import RunError
from bench.runtime.printing import PrintableFormatter, printable, words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("digits, FID 5.0 ± 0.1 ⚠", "digits, FID 5.0 ± 0.1 ⚠"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b31m", "\\x9b31m"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("gpj.exe\u202ecod", "gpj.exe\\u202ecod"),
        ("caf\udce9", "caf\\udce9"),
        ("", ""),
    ],
)
def test_text_that_steers_a_terminal_is_shown_as_an_escape(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown


def test_line_ends_can_be_kept():
    assert printable("a\nb\x1bc", kept="\n") == "a\nb\\x1bc"


def test_errors_of_runs_and_log_lines_steer_no_terminal():
    assert str(RunError("no file \x1b]0;title\x07\nhere")) == "no file \\x1b]0;title\\x07\nhere"
    record = logging.LogRecord("bench", logging.ERROR, "", 0, "✗ %s", ("\x1b[2J",), None)
    assert PrintableFormatter().format(record) == "✗ \\x1b[2J"


def test_the_command_line_logs_nothing_that_steers_a_terminal(capsys, monkeypatch):
    ours = logging.getLogger("bench")
    for name in ("handlers", "propagate", "level"):
        monkeypatch.setattr(ours, name, getattr(ours, name))
    cli._log_to_stderr()
    ours.error("✗ %s: %s", "results/\x1b[2Jruns", "loss\x9b is nan\nTraceback")
    assert capsys.readouterr().err == "✗ results/\\x1b[2Jruns: loss\\x9b is nan\nTraceback\n"


def test_a_full_disk_is_not_a_reader_who_left():
    with pytest.raises(OSError, match="No space left"), words():
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("body", "said", "code"),
    [
        ("print('x' * 1_000_000); print('y' * 1_000_000)", "still here\n", 0),
        ("print('x')", "still here\n", 0),
        ("print('x'); sys.exit(0)", "", 0),
        ("print('x'); sys.exit(3)", "", 3),
    ],
)
def test_a_reader_who_left_is_no_error(body, said, code):
    program = (
        "from bench.runtime.printing import words\n"
        "import sys\n"
        "with words():\n"
        f"    {body}\n"
        "print('still here', file=sys.stderr)\n"
    )
    buffered = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}
    line = [sys.executable, "-c", program]
    process = subprocess.Popen(line, env=buffered, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read().decode() == said
    assert process.wait(timeout=60) == code
    process.stderr.close()
