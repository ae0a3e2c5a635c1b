"""Bad inputs of the comparison: one sentence that names the file."""

import json
import shutil
import subprocess
import sys

import pytest
from synthetic_runs import scores

from bench.compare import cli
from bench.compare.read import read_run, read_runs
from bench.records import Status


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
    with pytest.raises(ValueError, match=r"eval\.csv .* lacks the columns recall_domain, class_kl"):
        read_run(run)


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
    with pytest.raises(ValueError, match=r"fid_domain must be a number: .*'five'"):
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
