"""Reading of runs: damaged or impossible files give one message that names the file."""

import errno
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_runs import scores

from bench.compare import cli
from bench.compare.comparison import compare_runs
from bench.compare.read import find_runs, read_run, read_runs
from bench.compare.topics.outcomes import outcomes
from bench.compare.topics.page import notes
from bench.runs.directory import RunDirectory, Status
from bench.schema import eval_columns


@pytest.fixture
def run(make_run):
    return make_run("dcgan", 0, {"generator": scores(5.0)})


def test_a_run_is_found_by_itself_its_folder_or_its_file(run):
    for path in (run, run.parents[3], run / "eval.csv"):
        assert [found.path for found in read_runs([path])] == [run]


def test_the_same_run_twice(run, tmp_path):
    assert len(read_runs([run, run.parent])) == 1
    shutil.copytree(run, tmp_path / "copy")
    with pytest.raises(ValueError, match="are the same run"):
        read_runs([run, tmp_path / "copy"])


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


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("eval.csv", b"", "eval.csv is empty"),
        ("eval.csv", b"digits,gan,default,0,,\n", "has no header"),
        ("eval.csv", b"\xff\xfe", "is not UTF-8"),
        ("eval.csv", None, "no rows although the run is finished"),
        ("status.json", b"{", "is not the status of a run"),
    ],
)
def test_a_run_that_cannot_be_read_is_named_and_the_others_are_compared(
    make_run, tmp_path, capsys, name, content, words
):
    for seed in range(3):
        make_run("dcgan", seed, {"generator": scores(5.0 + seed)})
    path = make_run("ddpm", 0, {"ddim-10": scores(4.0)})
    make_run("ddpm", 1, {"ddim-10": scores(6.0)})
    (path / name).unlink()
    if content is not None:
        (path / name).write_bytes(content)
    runs = {(run.model, run.seed): run for run in read_runs([tmp_path / "runs"])}
    assert [run.state for run in runs.values()].count("finished") == 4
    damaged = runs["ddpm", "0"]
    assert (damaged.state, damaged.dataset, len(damaged.table)) == ("unusable", "digits", 0)
    assert words in damaged.fault
    assert str(path) in damaged.fault
    entries = {e.model: e for e in compare_runs(list(runs.values())).entries if e.finished}
    assert entries["ddpm"].seeds == ("1",)
    assert entries["dcgan"].seeds == ("0", "1", "2")
    assert cli.main([str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    assert words in (tmp_path / "out" / "digits.md").read_text()
    assert "ddpm seed 0 failed and has no result" in " ".join(capsys.readouterr().out.split())


def test_a_data_set_of_which_nothing_can_be_read_stops_no_other(make_run, tmp_path):
    make_run("dcgan", 0, {"generator": scores(5.0)})
    lost = make_run("dcgan", 0, {"generator": scores(5.0)}, dataset="mnist")
    (lost / "eval.csv").write_bytes(b"")
    assert cli.main([str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    assert "eval.csv is empty" in (tmp_path / "out" / "mnist.md").read_text()


def test_only_a_comparison_without_any_run_that_can_be_read_stops(make_run, tmp_path):
    for seed in range(2):
        path = make_run("dcgan", seed, {"generator": scores(5.0)})
        (path / "eval.csv").write_bytes(b"")
    with pytest.raises(ValueError, match=r"seed=0/eval\.csv is empty: delete .*seed=0 and run"):
        read_runs([tmp_path / "runs"])


def test_a_damaged_run_that_nothing_names_stops_the_comparison(make_run, tmp_path):
    make_run("dcgan", 0, {"generator": scores(5.0)})
    foreign = tmp_path / "runs" / "mine"
    foreign.mkdir()
    (foreign / "eval.csv").write_bytes(b"")
    with pytest.raises(ValueError, match=r"mine/eval\.csv is empty"):
        read_runs([tmp_path / "runs"])


def test_what_is_not_utf_8_says_so(run):
    content = (run / "eval.csv").read_bytes().replace(b"Example", b"\xe9xample")
    (run / "eval.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"decode byte 0xe9.*: save it as UTF-8, or name other"):
        read_run(run)


def test_a_header_alone_is_no_result_of_a_finished_run(run):
    header = (run / "eval.csv").read_bytes().splitlines(keepends=True)[0]
    assert "no rows although the run is finished" in spoil(run, "eval.csv", header)


def test_a_header_alone_is_an_unfinished_run_that_has_just_begun(run):
    header = (run / "eval.csv").read_bytes().splitlines(keepends=True)[0]
    (run / "eval.csv").write_bytes(header)
    (run / "status.json").write_text('{"status": "running", "step": 3}')
    assert len(read_run(run).table) == 0
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
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"state": 1}',
        b'{"status": "done"}',
        b'{"status": "failed", "reason": 5}',
        b'{"status": "failed", "step": "7"}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_status_has_a_remedy_that_keeps_what_was_trained(run, content):
    (run / "status.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"status\.json is not .*: delete this file and give") as e:
        read_run(run)
    assert "\n" not in str(e.value)


def test_a_status_with_a_byte_order_mark_is_read(run):
    content = (run / "status.json").read_bytes()
    (run / "status.json").write_bytes(b"\xef\xbb\xbf" + content)
    assert read_run(run).status.status == "finished"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_that_a_spreadsheet_saved_is_the_same(run, mark, end):
    """A byte-order mark, other line ends, and columns in another order change nothing."""
    before = read_run(run)
    lines = (run / "eval.csv").read_text().splitlines()
    turned = [",".join(reversed(line.split(","))) for line in lines]
    (run / "eval.csv").write_bytes(mark + end.join([*turned, ""]).encode())
    after = read_run(run)
    texts = (tuple(run.table.layout.texts) for run in (after, before))
    assert next(texts) == next(texts)[::-1]
    np.testing.assert_array_equal(after.table.values, before.table.values)
    assert after.seed == before.seed == "0"
    assert not after.fault


@pytest.mark.parametrize("name", ["eval.csv", "status.json"])
def test_a_link_to_nothing_is_one_sentence(run, name):
    (run / name).unlink()
    (run / name).symlink_to(run / "gone")
    with pytest.raises(ValueError, match=rf"{name} is a link to .*gone, which does not exist: b"):
        read_run(run)


@pytest.mark.parametrize("name", ["eval.csv", "status.json"])
def test_a_folder_in_place_of_a_file_is_one_sentence(run, name):
    (run / name).unlink()
    (run / name).mkdir()
    with pytest.raises(ValueError, match=rf"{name} cannot be read \(Is a directory\): it must be"):
        read_run(run)


def test_runs_behind_links_are_found_once(run, tmp_path):
    elsewhere = tmp_path / "disk" / "digits"
    elsewhere.parent.mkdir()
    run.parents[2].rename(elsewhere)
    runs = tmp_path / "runs"
    (runs / "digits").symlink_to(elsewhere)
    (elsewhere / "loop").symlink_to(runs)
    (runs / "a").symlink_to(elsewhere / "dcgan")
    assert [found.path.name for found in read_runs([runs])] == ["seed=0"]
    (elsewhere / "alias").symlink_to(elsewhere / "dcgan" / "default" / "seed=0")
    assert find_runs([elsewhere]) == [elsewhere / "dcgan" / "default" / "seed=0"]


def test_a_run_that_is_a_link_to_nothing_is_not_left_out(run):
    (run.parent / "seed=1").symlink_to(run.parent / "gone")
    with pytest.raises(ValueError, match=r"seed=1 is a link to .*gone, which is no folder: bring"):
        read_runs([run.parent])


def test_a_folder_that_cannot_be_listed_is_not_left_out(run, monkeypatch):
    """Its runs would be missing without a word."""
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "default":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ValueError, match=r"default cannot be listed \(Permission denied\): make"):
        read_runs([run.parents[2]])


def test_a_name_that_is_not_utf_8_is_one_sentence(run, tmp_path, capsys):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    shutil.copytree(run, f"{folder}/runs/seed=0")
    assert cli.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.endswith("caf\\udce9/runs/seed=0 has a name that is not UTF-8: rename it\n")
    assert cli.main([folder]) == 2
    assert "has a name that is not UTF-8" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def changed(run: Path, column: str, text: str) -> Path:
    """The run with another value of a column in all of its rows."""
    lines = [line.split(",") for line in (run / "eval.csv").read_text().splitlines()]
    for line in lines[1:]:
        line[lines[0].index(column)] = text
    (run / "eval.csv").write_text("".join(",".join(line) + "\n" for line in lines))
    return run


@pytest.mark.parametrize(
    ("column", "text", "must"),
    [
        ("fid_domain", "-5.0", "finite and at least -0.01"),
        ("fid_domain", "-inf", "finite and at least -0.01"),
        ("fid_domain", "inf", "finite and at least -0.01"),
        ("fid_domain", "nan", "finite and at least -0.01"),
        ("precision_domain", "7", "between 0 and 1"),
        ("recall_domain", "-0.1", "between 0 and 1"),
        ("coverage_domain", "1.01", "between 0 and 1"),
        ("density_domain", "-1", "finite and at least 0"),
        ("is_domain", "0.5", "finite and at least 0.999999"),
        ("kid_domain", "inf", "finite"),
        ("precision_high_domain", "7", "between -1 and 2"),
        ("authpct_domain", "101", "between 0 and 100"),
        ("modes", "-1", "finite and at least 0"),
        ("latency_ms", "-3", "finite and at least 0"),
        ("train_seconds", "-1", "finite and at least 0"),
        ("bits_per_dim", "inf", "finite"),
    ],
)
def test_a_number_that_cannot_be_is_named_and_left_out_as_failed(run, make_run, column, text, must):
    changed(run, column, text)
    make_run("dcgan", 1, {"generator": scores(6.0)})
    comparison = compare_runs(read_runs([run.parent]))
    good, bad = comparison.entries
    assert (good.seeds, good.mean["fid_domain"]) == (("1",), 6.0)
    assert (bad.status, bad.seeds, bad.mean) == ("failed", ("0",), {})
    assert f"{run}/eval.csv: {column} of generator at evaluation point 1 is {text}" in bad.reason
    assert f", must be {must}; bring the file back, or delete {run} and run it" in bad.reason
    assert any(bad.reason in note for note in notes(comparison))
    (outcome,) = outcomes(comparison)
    assert (outcome.runs, outcome.failed) == (1, 0)  # its training did not fail


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("fid_domain", "-0.002"),
        ("kid_domain", "-0.5"),
        ("fid_infinity_domain", "-3.0"),
        ("fid_low_domain", "-3.0"),
        ("precision_high_domain", "1.002"),
        ("bits_per_dim", "-2.5"),
        ("class_kl", ""),
    ],
)
def test_a_number_that_can_be_is_kept(run, column, text):
    assert not read_run(changed(run, column, text)).fault


def test_an_impossible_number_is_never_bold_and_never_averaged(make_run, tmp_path):
    make_run("dcgan", 0, {"generator": scores(-5.0)})
    make_run("mlp_gan", 0, {"generator": scores(8.0)})
    make_run("ddpm", 0, {"ddim-50": scores(9.0)})
    assert cli.main([str(tmp_path / "runs"), "--out", str(tmp_path / "out"), "--no-report"]) == 0
    page = (tmp_path / "out" / "digits.md").read_text()
    assert "**8 ± –**" in page
    assert "-5 ±" not in page
    assert "dcgan seed 0 failed and has no result: " in page


def test_a_finished_run_without_all_of_its_points_is_no_result(make_run):
    make_run("gan", 0, {"g": scores(5.0)}, checkpoint=1, checkpoints=4)
    path = make_run("gan", 0, {"g": scores(5.0)}, checkpoint=3, checkpoints=4)
    run = read_run(path)
    assert run.state == "unusable"
    assert (
        "eval.csv: it has 2 of 4 evaluation points, without 2, 4; bring the file back, or delete"
        in run.fault
    )
    (entry,) = compare_runs([run]).entries
    assert (entry.status, entry.mean) == ("failed", {})
    (path / "status.json").write_text('{"status": "running", "step": 3}')
    assert read_run(path).state == "running"  # the points that it lacks are to come


def test_a_run_that_lacks_its_last_point_alone_is_evaluated_by_its_command(make_run):
    path = make_run("gan", 0, {"g": scores(5.0)}, checkpoint=1, checkpoints=2)
    assert "without 2; give the run's command again" in read_run(path).fault


def test_a_run_whose_last_point_lacks_a_sampler_is_no_result(make_run):
    make_run("ddpm", 0, {"a": scores(5.0), "b": scores(5.0)}, checkpoint=1, checkpoints=2)
    path = make_run("ddpm", 0, {"a": scores(5.0)}, checkpoint=2)
    assert "the last evaluation point of b is missing" in read_run(path).fault


@pytest.mark.parametrize(("point", "points"), [("0", "1"), ("2", "1"), ("1.5", "2"), ("1", "inf")])
def test_a_point_that_there_cannot_be_is_one_sentence(run, point, points):
    changed(changed(run, "checkpoint", point), "checkpoints", points)
    with pytest.raises(ValueError, match=rf"a row of checkpoint {point} of {points}, which is"):
        read_run(run)


@pytest.mark.parametrize("text", ["00", "0.0", "000.00"])
def test_a_seed_written_in_another_way_is_the_same_seed(run, make_run, tmp_path, text):
    again = make_run("dcgan", 1, {"generator": scores(6.0)})
    assert read_run(changed(again, "seed", text)).seed == "0"
    with pytest.raises(ValueError, match=r"are the same run \(digits, dcgan, default, seed 0\)"):
        read_runs([run.parent])
    failed = tmp_path / "digits" / "dcgan" / "default" / f"seed={text}"
    failed.mkdir(parents=True)
    (failed / "status.json").write_text('{"status": "failed", "reason": "loss"}')
    assert read_run(failed).seed == "0"


@pytest.mark.parametrize("text", ["0.5", "one", "1e3", "0x1", "", "٣"])
def test_a_seed_that_is_no_whole_number_is_refused(run, text):
    with pytest.raises(ValueError, match=r"seed=0 names a"):
        read_run(changed(run, "seed", text))


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
    assert sum(file.name == "eval.csv" for file in opened) == 20
    assert len(opened) == len(set(opened)) == 40  # eval.csv and status.json


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
    assert len(read.table) == len(rows)
    for name in TEXT:
        assert list(read.table.texts(name)) == [wrote[name] for wrote in rows]
    for name in NUMBERS:
        for wrote, got in zip(rows, read.table.numbers(name).tolist(), strict=True):
            if wrote[name] is None:
                assert math.isnan(got)
            else:
                assert (got, math.copysign(1, got)) == (wrote[name], math.copysign(1, wrote[name]))


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "hello\n", '"', "a,b\n1,2,3\n1,2,3,4\n", ""])
def test_a_foreign_file_is_named(run, text):
    (run / "eval.csv").write_text(text)
    with pytest.raises(ValueError, match=r"eval\.csv"):
        read_run(run)


def test_a_failed_run_without_rows_is_named_by_its_path(make_run):
    path = make_run("dcgan", 7, {}, variant="ab12", status=Status("failed", "loss"))
    run = read_run(path)
    assert (run.dataset, run.model, run.variant, run.seed) == ("digits", "dcgan", "ab12", "7")


def test_rows_without_a_status_are_finished_at_the_last_checkpoint(run):
    (run / "status.json").unlink()
    assert read_run(run).status.status == "finished"


def test_the_comparison_needs_no_torch():
    check = "import sys, bench.compare.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
