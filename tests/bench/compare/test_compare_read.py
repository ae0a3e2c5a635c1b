"""Bad inputs of the comparison: one sentence that names the file."""

import json
import math
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_runs import scores

from bench.compare import cli
from bench.compare.read import read_run, read_runs
from bench.protocol import eval_columns
from bench.records import RunDirectory, Status


@pytest.fixture
def run(make_run):
    return make_run("dcgan", 0, {"generator": scores(5.0)})


def test_a_run_is_found_by_itself_its_folder_or_its_file(run):
    for path in (run, run.parents[3], run / "eval.csv"):
        assert [found.path for found in read_runs([path])] == [run]


def test_no_such_path(tmp_path):
    with pytest.raises(ValueError, match=r"missing does not exist"):
        read_runs([tmp_path / "missing"])


def test_no_runs(tmp_path):
    with pytest.raises(ValueError, match=r"holds no run"):
        read_runs([tmp_path])


def test_the_same_run_twice(run, tmp_path):
    assert len(read_runs([run, run.parent])) == 1
    shutil.copytree(run, tmp_path / "copy")
    with pytest.raises(ValueError, match="are the same run"):
        read_runs([run, tmp_path / "copy"])


def test_missing_columns_are_named(run):
    text = (run / "eval.csv").read_text()
    (run / "eval.csv").write_text(text.replace("class_kl", "kl").replace("recall_", "r_"))
    with pytest.raises(ValueError, match=r"eval\.csv .* lacks the columns recall_domain, rec"):
        read_run(run)


def spoil(run, name: str, content: bytes) -> str:
    """Overwrite a file of the run and read it: the sentence about it, which has a remedy."""
    (run / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}.*delete {run} and run it again") as caught:
        read_run(run)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_empty_file_says_so(run):
    assert "eval.csv is empty" in spoil(run, "eval.csv", b"")
    assert "eval.csv is empty" in spoil(run, "eval.csv", b"\n\n")


def test_what_is_not_utf_8_says_so(run):
    content = (run / "eval.csv").read_bytes().replace(b"Example", b"\xe9xample")
    assert "'utf-8' codec can't decode byte 0xe9" in spoil(run, "eval.csv", content)


def test_a_header_alone_is_no_result_of_a_finished_run(run):
    header = (run / "eval.csv").read_bytes().splitlines(keepends=True)[0]
    assert "no rows although the run is finished" in spoil(run, "eval.csv", header)


def test_a_header_alone_is_an_unfinished_run_that_has_just_begun(run):
    header = (run / "eval.csv").read_bytes().splitlines(keepends=True)[0]
    (run / "eval.csv").write_bytes(header)
    (run / "status.json").write_text('{"status": "running", "step": 3}')
    assert read_run(run).rows.empty
    assert read_run(run).status.step == 3


def test_a_number_that_is_text_is_named(run):
    content = (run / "eval.csv").read_bytes().replace(b",48.25,", b",n/a,")
    assert "a value of authpct_domain is no number" in spoil(run, "eval.csv", content)


def test_a_row_without_checkpoint_and_a_row_twice(run):
    header, row = (run / "eval.csv").read_bytes().splitlines(keepends=True)
    twice = spoil(run, "eval.csv", header + row + row)
    assert "two rows of checkpoint 1, sampler generator" in twice
    column = header.decode().split(",").index("checkpoint")
    values = row.decode().split(",")
    assert values[column] == "1"
    values[column] = ""
    text = spoil(run, "eval.csv", header + ",".join(values).encode())
    assert "a row without checkpoint" in text


def test_columns_of_the_same_name(run):
    content = (run / "eval.csv").read_bytes().replace(b"class_kl", b"class_tv")
    assert "two columns of the same name" in spoil(run, "eval.csv", content)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"state": 1}', b'{"status": "done"}', b"\xff\xfe"]
)
def test_a_damaged_status_has_a_remedy(run, content):
    spoil(run, "status.json", content)


def test_a_file_of_the_version_before_is_refused(run):
    """Version 0.1 had neither density nor modes' columns nor warnings."""
    lines = [line.split(",") for line in (run / "eval.csv").read_text().splitlines()]
    new = ("density", "coverage", "duplicates", "high_quality", "warning", "fid_infinity")
    kept = [k for k, name in enumerate(lines[0]) if not name.startswith(new)]
    old = "".join(",".join(line[k] for k in kept) + "\n" for line in lines)
    assert "not an eval.csv of this version" in spoil(run, "eval.csv", old.encode())


def test_every_file_is_read_once(make_run, monkeypatch):
    """Reading stays linear in the number of runs."""
    for seed in range(20):
        path = make_run("dcgan", seed, {"generator": scores(5.0)})
    opened = []
    read_bytes = Path.read_bytes

    def count(file: Path) -> bytes:
        opened.append(file)
        return read_bytes(file)

    monkeypatch.setattr(Path, "read_bytes", count)
    assert len(read_runs([path.parents[3], path.parent, path])) == 20
    assert len(opened) == 20


TEXT = ("overrides", "warning", "commit", "device", "metric_backend")
NUMBERS = ("fid_domain", "kid_low_domain", "reverse_kl", "classifier_error", "latency_ms")
letters = st.characters(codec="utf-8")
text = st.text(letters, max_size=30) | st.sampled_from(
    ["a,b", '"', "x\ny", "\r", "\r\n", " ", "ü\u2028⚠"]
)
number = st.floats(allow_nan=False) | st.none()
row = st.fixed_dictionaries({**dict.fromkeys(TEXT, text), **dict.fromkeys(NUMBERS, number)})


@given(rows=st.lists(row, min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_what_append_eval_wrote_is_read_back(rows):
    identity = {"dataset": "d", "model": "m", "variant": "v", "seed": 0, "weights": "raw"}
    point = {"checkpoint": 1, "checkpoints": 1}
    rows = [{**identity, **point, "sampler": f"s{k}", **values} for k, values in enumerate(rows)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        with RunDirectory(path) as directory:
            for values in rows:  # every row rewrites those before it
                directory.append_eval([values], eval_columns(("domain",)))
        (read,) = read_runs([path])
    found = read.rows.to_dict("records")
    assert len(found) == len(rows)
    for wrote, got in zip(rows, found, strict=True):
        assert {name: got[name] for name in TEXT} == {name: wrote[name] for name in TEXT}
        for name in NUMBERS:
            if wrote[name] is None:
                assert math.isnan(got[name])
            else:
                assert (got[name], math.copysign(1, got[name])) == (
                    wrote[name],
                    math.copysign(1, wrote[name]),
                )


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "hello\n", '"', "a,b\n1,2,3\n1,2,3,4\n", ""])
def test_a_foreign_file_is_named(run, text):
    (run / "eval.csv").write_text(text)
    with pytest.raises(ValueError, match=r"eval\.csv"):
        read_run(run)


def test_a_binary_file_is_named(run):
    (run / "eval.csv").write_bytes(b"\x89PNG\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"eval\.csv cannot be read as CSV"):
        read_run(run)


def test_a_half_written_row_is_named(run):
    text = (run / "eval.csv").read_text()
    (run / "eval.csv").write_text(text[:-60])
    with pytest.raises(ValueError, match=r"eval\.csv is half-written: line 2"):
        read_run(run)


def test_a_value_that_is_no_number_is_named(run):
    text = (run / "eval.csv").read_text()
    (run / "eval.csv").write_text(text.replace(",5.0,", ",five,"))
    with pytest.raises(ValueError, match=r"a value of fid_domain is no number \(.*'five'\)"):
        read_run(run)


def test_a_finished_run_without_rows_is_an_error(run):
    (run / "eval.csv").unlink()
    with pytest.raises(ValueError, match="no rows although the run is finished"):
        read_run(run)


def test_a_run_without_rows_and_name_is_an_error(tmp_path):
    (tmp_path / "status.json").write_text(json.dumps({"status": "running"}))
    with pytest.raises(ValueError, match="cannot tell which run it is"):
        read_run(tmp_path)


def test_a_failed_run_without_rows_is_named_by_its_path(make_run):
    path = make_run("dcgan", 7, {}, variant="ab12", status=Status("failed", "loss"))
    run = read_run(path)
    assert (run.dataset, run.model, run.variant, run.seed) == ("digits", "dcgan", "ab12", "7")


def test_rows_without_a_status_are_finished_at_the_last_checkpoint(run):
    (run / "status.json").unlink()
    assert read_run(run).status.status == "finished"


def test_errors_are_one_sentence_and_exit_code_2(tmp_path, capsys):
    assert cli.main([str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("bench.compare: ")
    assert captured.err.count("\n") == 1


def test_the_comparison_needs_no_torch():
    check = "import sys, bench.compare.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
