"""YAML and JSON from elsewhere: plain values within bounds, and nothing that takes for ever."""

import os
import time

import pytest

from bench.files import read_text
from bench.plain_files import MAX_BYTES, MAX_DEPTH, MAX_NODES, json_value, read_yaml


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
        ("#" * (MAX_BYTES + 1), "larger than 1024 KiB"),
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
def test_what_no_run_writes_is_refused_at_once(tmp_path, text, said):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    started = time.monotonic()
    with pytest.raises(ValueError, match=said) as error:
        read_yaml(file)
    assert "\n" not in str(error.value)
    assert time.monotonic() - started < 20


def test_plain_values_are_read(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("a: 1\nb: [2.5, true, null, 'x', '2026-11-29']\nc: {d: é}\n", encoding="utf-8")
    assert read_yaml(file) == {
        "a": 1,
        "b": [2.5, True, None, "x", "2026-11-29"],
        "c": {"d": "é"},
    }
    depth = MAX_DEPTH - 1
    file.write_text("[" * depth + "]" * depth)
    assert str(read_yaml(file)).count("[") == depth


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 50_000, "nested too deeply"),
        (" " * (MAX_BYTES + 1), "larger than 1024 KiB"),
        ("{", "double quotes"),
        ("9" * 5_000, "integer string conversion"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_json_beyond_bounds_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        json_value(text)


@pytest.mark.parametrize("read", [read_text, read_yaml])
def test_only_regular_files_are_read(tmp_path, read):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # opened for reading, it would wait for a writer
    for path in (pipe, tmp_path):
        with pytest.raises(ValueError, match=r"not a regular file|must be a file"):
            read(path)
    (tmp_path / "latin").write_bytes(b"a: \xe9")
    with pytest.raises(ValueError, match=r"(?i)utf-8"):
        read(tmp_path / "latin")
