"""Untrusted YAML and JSON: plain values within limits, in bounded time."""

import os
import time

import pytest

from bench.runtime.atomic_files import read_text
from bench.runtime.plain_files import MAX_BYTES, MAX_DEPTH, MAX_NODES, json_value, yaml_value


def multiplied(levels: int) -> str:
    """YAML that stands for 9 ** levels values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (multiplied(2), "YAML aliases"),
        (multiplied(40), "YAML aliases"),
        ("a: &a [*a]", "YAML aliases"),
        ("a: &a {b: 1}\nc: {<<: *a}", "merge"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} levels"),
        ("[" * 100_000, f"more than {MAX_DEPTH} levels"),
        ("- " * 3_000 + "x", f"more than {MAX_DEPTH} levels"),
        ("[" + "1," * MAX_NODES + "1]", f"more than {MAX_NODES} values"),
        ("a: 2026-11-29", "timestamp"),
        ("a: !!set {b, c}", "set"),
        ("a: !!omap [{b: 1}]", "omap"),
        ("a: !!binary aGk=", "binary"),
        ("a: !!python/name:os.getcwd", "python/name"),
        ("a: [", "expected the node content"),
        ("? [1]\n: 2", "unhashable key"),
        ("a: " + "9" * 5_000, "integer string conversion"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_no_run_writes_is_refused_at_once(text, said):
    started = time.monotonic()
    with pytest.raises(ValueError, match=said) as error:
        yaml_value(text)
    assert "\n" not in str(error.value)
    assert time.monotonic() - started < 20


def test_plain_values_are_read():
    text = "a: 1\nb: [2.5, true, null, 'x', '2026-11-29']\nc: {d: é}\n"
    assert yaml_value(text) == {
        "a": 1,
        "b": [2.5, True, None, "x", "2026-11-29"],
        "c": {"d": "é"},
    }
    depth = MAX_DEPTH - 1
    assert str(yaml_value("[" * depth + "]" * depth)).count("[") == depth


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 50_000, "nested too deeply"),
        ("{", "double quotes"),
        ("9" * 5_000, "integer string conversion"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_json_beyond_bounds_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        json_value(text)


def test_only_files_within_bounds_are_read(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # opened for reading, it would wait for a writer
    for path in (pipe, tmp_path):
        with pytest.raises(ValueError, match="it must be a file"):
            read_text(path)
    (tmp_path / "latin").write_bytes(b"a: \xe9")
    with pytest.raises(ValueError, match=r"(?i)utf-8"):
        read_text(tmp_path / "latin")
    (tmp_path / "large").write_text(" " * (MAX_BYTES + 1))
    with pytest.raises(ValueError, match="large is larger than 1024 KiB: bring back the file"):
        read_text(tmp_path / "large", MAX_BYTES)
    assert len(read_text(tmp_path / "large")) == MAX_BYTES + 1
