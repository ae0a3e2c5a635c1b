"""The registry of columns: what is read from it agrees with it, docs/protocol.md included."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

from bench.columns import COLUMNS, FINITE, Column, Group
from bench.compare import cli
from bench.schema import (
    FIELDS,
    MEASURED,
    column_ranges,
    eval_columns,
    measured_columns,
    shown_in,
)

PAGE = Path(__file__).parents[2] / "docs/protocol.md"
LISTED = re.compile(r"(<!-- columns: (\S+) -->\n).*?(<!-- end of columns -->)", re.DOTALL)


def listed(group: str) -> str:
    """The columns of a group as a Markdown table, without the properties that none of them has."""
    columns = [column for column in COLUMNS if column.group == group]
    rows = [
        ("column", "in tables", "meaning", "better", "values", "perfect value", "source"),
        *map(cells, columns),
    ]
    kept = [k for k in range(len(rows[0])) if any(row[k] for row in rows[1:])]
    heading, *lines = [f"| {' | '.join(row[k] for k in kept)} |\n" for row in rows]
    return "".join((heading, f"|{'---|' * len(kept)}\n", *lines))


def cells(column: Column) -> tuple[str, ...]:
    """What the list says of a column."""
    unit = f" ({column.unit})" if column.unit else ""
    title = f"{column.label}{unit}" if column.title or column.tables else ""
    better = "" if column.better == "neither" else column.better
    values = "" if column in FIELDS.values() or column.range == FINITE else str(column.range)
    ratio = ", by ratio" if column.ratio and better else ""
    perfect, source = column.perfect, column.source
    return f"`{column.name}`", title, column.meaning, better + ratio, values, perfect, source


def test_the_page_of_the_protocol_lists_the_registry():
    """UPDATE_GOLDEN=1 python -m pytest tests/bench/test_schema.py rewrites the lists."""
    text = PAGE.read_text(encoding="utf-8")
    assert {group for _, group, _ in LISTED.findall(text)} == set(get_args(Group))
    expected = LISTED.sub(lambda match: match[1] + listed(match[2]) + match[3], text)
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(expected, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == expected


@pytest.mark.parametrize("extractors", [(), ("domain",), ("domain", "inception")])
def test_every_column_of_a_row_is_in_the_registry_once(extractors):
    names = eval_columns(extractors)
    assert len(set(names)) == len(names)
    assert tuple(column_ranges(extractors)) == measured_columns(extractors)
    once = {column.name for column in COLUMNS if not column.per_extractor}
    metrics = [column.name for column in COLUMNS if column.per_extractor]
    assert once <= set(names)
    assert {f"{metric}_{name}" for metric in metrics for name in extractors} <= set(names)


def test_no_two_columns_have_one_place_in_a_table():
    for table in {table for column in COLUMNS for table in column.tables}:
        shown = shown_in(table)
        assert [column.tables[table] for column in shown] == list(range(1, len(shown) + 1)), table
        assert all(column.name in MEASURED for column in shown)


def test_the_command_line_lists_the_columns(capsys):
    assert cli.main(["--columns"]) == 0
    said = capsys.readouterr().out
    for column in COLUMNS:
        name = f"{column.name}_<extractor>" if column.per_extractor else column.name
        assert re.search(rf"^  {name}( |$)", said, re.MULTILINE), name
        assert " ".join(column.meaning.split()) in " ".join(said.split())


NEW_METRIC = """
import sys
from pathlib import Path
from types import ModuleType

root, support, folder = map(Path, sys.argv[1:])
sys.path[:0] = [str(root), str(support)]
before = '    Column("modes", "modes"'
row = '    Column("sharpness", "memorisation", "sharpness", "%", "higher", factor=100.0,'
row += ' tables={"quality": 14}, explained=True, meaning="How sharp samples are."),'
source = (root / "bench/columns.py").read_text(encoding="utf-8")
assert source.count(before) == 1
sys.modules["bench.columns"] = ModuleType("bench.columns")
exec(source.replace(before, row + chr(10) + before), vars(sys.modules["bench.columns"]))

from bench.compare.cli import main
from synthetic_runs import scores, write_run

for model, sharpness in (("dcgan", 0.5), ("ddpm", 0.75)):
    write_run(folder, model, 0, {"g": scores(5.0) | {"sharpness_domain": sharpness}})
sys.exit(main([str(folder / "runs"), "--out", str(folder / "out")]))
"""


def test_a_new_metric_needs_one_row(tmp_path):
    """A row beside those of the registry, and tables, pages and files show the metric."""
    root = PAGE.parents[1]
    arguments = [str(root), str(root / "tests/support"), str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", NEW_METRIC, *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out/digits.md").read_text(encoding="utf-8")
    assert "sharpness (%) ↑" in page
    assert "**75 ± –**" in page
    assert "- How sharp samples are." in page
    assert r"sharpness (\%) $\uparrow$" in (tmp_path / "out/digits.tex").read_text(encoding="utf-8")
    table = pd.read_csv(tmp_path / "out/digits.csv").set_index("model")
    assert table["sharpness_domain_mean"].to_dict() == {"dcgan": 0.5, "ddpm": 0.75}
    assert "sharpness" in (tmp_path / "out/report/index.html").read_text(encoding="utf-8")
