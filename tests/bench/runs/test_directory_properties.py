"""Properties of records: what is written is read back, wherever writing was interrupted."""

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.evaluation.collapse import collapse_signs
from bench.evaluation.sampling import batch_sizes
from bench.runs.directory import RunDirectory
from bench.runtime.atomic_files import TRAIN_COLUMNS, TrainLog
from bench.schema import eval_columns

COLUMNS = eval_columns(("domain",))
TEXT = ("warning", "overrides", "device")
NUMBERS = ("fid_domain", "modes", "latency_ms")

quick = settings(max_examples=25, deadline=None)
words = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(["a,b", '"', "\r\n"])
numbers = st.floats(allow_nan=False) | st.none()
scores = st.fixed_dictionaries({**dict.fromkeys(TEXT, words), **dict.fromkeys(NUMBERS, numbers)})
keys = st.tuples(st.integers(1, 5), st.sampled_from(["ddim-50", "ddim-10"]))
tables = st.dictionaries(keys, scores, min_size=1, max_size=6)


@contextmanager
def fresh_run() -> Iterator[RunDirectory]:
    """Hypothesis runs many examples within one tmp_path."""
    with tempfile.TemporaryDirectory() as folder, RunDirectory(Path(folder) / "run") as run:
        yield run


def append(run: RunDirectory, table: dict) -> None:
    for (checkpoint, sampler), values in table.items():
        row = {"checkpoint": checkpoint, "sampler": sampler, "weights": "ema", **values}
        run.append_eval([row], COLUMNS)


def read(run: RunDirectory) -> dict:
    """The table that `append` wrote."""
    return {
        (int(row["checkpoint"]), row["sampler"]): {
            **{name: row[name] for name in TEXT},
            **{name: float(row[name]) if row[name] else None for name in NUMBERS},
        }
        for row in run.eval_rows()
    }


@quick
@given(tables)
def test_evaluations_are_read_as_they_were_written(table):
    with fresh_run() as run:
        append(run, table)
        assert read(run) == table


@quick
@given(table=tables, again=tables, resumed_at=st.integers(0, 5))
def test_a_resumed_run_replaces_what_it_repeats_and_keeps_the_rest(table, again, resumed_at):
    kept = {key: row for key, row in table.items() if key[0] <= resumed_at}
    with fresh_run() as run:
        append(run, table)
        run.truncate_eval(resumed_at, COLUMNS)
        assert read(run) == kept
        append(run, again)
        assert read(run) == kept | again


def write_log(path: Path, steps: int) -> list[str]:
    """A log of two values a step; its lines."""
    log = TrainLog(path)
    for step in range(1, steps + 1):
        log.log({"a/loss": 1 / step, "b/loss": -step}, step=step, images=step, train_seconds=step)
    log.flush()
    return path.read_text().splitlines(keepends=True)


@quick
@given(steps=st.integers(1, 12), share=st.floats(0, 1), resumed_at=st.integers(0, 13))
def test_a_log_cut_at_any_byte_keeps_whole_rows_up_to_the_step(steps, share, resumed_at):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.csv"
        lines = write_log(path, steps)
        content = path.read_bytes()
        cut = round(share * len(content))
        path.write_bytes(content[:cut])
        TrainLog(path).truncate_after(resumed_at)
        whole = "".join(lines).encode()[:cut].decode().splitlines(keepends=True)[1:]
        rows = [row for row in whole if row.endswith("\n") and int(row.split(",")[0]) <= resumed_at]
        assert path.read_text() == ",".join(TRAIN_COLUMNS) + "\n" + "".join(rows)


@quick
@given(steps=st.integers(1, 12), share=st.floats(0, 1))
def test_a_log_cut_off_and_written_again_is_the_log(steps, share):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.csv"
        whole = write_log(path, steps)
        path.write_bytes(path.read_bytes()[: round(share * path.stat().st_size)])
        TrainLog(path).truncate_after(0)
        assert write_log(path, steps) == whole


score = st.none() | st.floats(allow_nan=False, allow_infinity=False)
names = ("modes", "duplicates_domain", "precision_domain", "recall_domain", "fid_domain")


@settings(max_examples=100, deadline=None)
@given(
    values=st.dictionaries(st.sampled_from(names), score),
    expected=st.none() | st.floats(0, 1000),
    earlier=st.lists(st.floats(0, 1e6), max_size=3),
)
def test_signs_of_collapse_are_found_in_whatever_was_measured(values, expected, earlier):
    signs = collapse_signs(values, "domain", expected_modes=expected, earlier_fids=earlier)
    assert len({sign.name for sign in signs}) == len(signs)
    assert all(sign.words and not math.isnan(sign.value) for sign in signs)
    absent = {name for name in names if values.get(name) is None}
    assert not {sign.name.replace("warning/", "") for sign in signs} & {
        name.removesuffix("_domain") for name in absent
    }


sizes = st.integers(1, 300)


@quick
@given(samples=sizes, more=sizes, scored=sizes, batch_size=st.integers(1, 64))
def test_fewer_samples_are_the_first_of_more(samples, more, scored, batch_size):
    fewer = list(batch_sizes(samples, scored, batch_size))
    longer = list(batch_sizes(samples + more, scored, batch_size))
    assert sum(fewer[:-1]) < samples <= sum(fewer)
    assert all(1 <= size <= batch_size for size in longer)
    evaluated = list(batch_sizes(scored, scored, batch_size))
    common = min(len(fewer), len(evaluated))
    assert fewer[:common] == longer[:common] == evaluated[:common]
