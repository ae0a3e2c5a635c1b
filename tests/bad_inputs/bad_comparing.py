"""Bad arguments of `bench.compare`, and runs that cannot be compared."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bad_case import Case, nothing
from bad_files import Prepare, file, folder
from spoiled_runs import AGAIN

from bench.runs.directory import RunDirectory, Status
from bench.schema import eval_columns

RUNS = "runs/digits/mlp_gan/default"
"""Where the runs to compare are, in the folder."""

TABLES = ("--out", "{folder}/tables")
COMPARED = ("{folder}/runs", *TABLES)
COLUMNS = eval_columns(("domain",))
PROTOCOL = {"budget": "images=64", "device": "cpu: Example CPU", "precision": "fp32"}


def write_run(root: Path, seed: float | str = 0, **values: Any) -> Path:
    """A finished run for the comparison, with one row."""
    path = root / RUNS / f"seed={seed}"
    identity = {"dataset": "digits", "model": "mlp_gan", "variant": "default", "seed": seed}
    point = {"sampler": "generator", "weights": "raw", "checkpoint": 1, "checkpoints": 1}
    with RunDirectory(path) as run:
        run.append_eval([identity | point | PROTOCOL | {"fid_domain": 5.5} | values], COLUMNS)
        run.write_status(Status("finished", step=1))
    return path


def move(path: Path, target: Path) -> None:
    path.rename(target)


def two_spellings(root: Path) -> None:
    write_run(root, "0")
    write_run(root, "00")


def with_file(name: str, content: bytes) -> Prepare:
    return lambda root: (write_run(root) / name).write_bytes(content)


def with_words(old: bytes, new: bytes) -> Prepare:
    def write(root: Path) -> None:
        table = write_run(root) / "eval.csv"
        assert old in table.read_bytes()
        table.write_bytes(table.read_bytes().replace(old, new))

    return write


def cut_short(root: Path) -> None:
    table = write_run(root) / "eval.csv"
    table.write_bytes(table.read_bytes()[:-12])


def without_table(root: Path) -> None:
    (write_run(root) / "eval.csv").unlink()


def linked_to_nothing(root: Path) -> None:
    table = write_run(root) / "eval.csv"
    table.unlink()
    table.symlink_to("gone.csv")


def folder_as_table(root: Path) -> None:
    table = write_run(root) / "eval.csv"
    table.unlink()
    table.mkdir()


def name_that_is_not_utf_8(root: Path) -> None:
    """A folder called caf\\xe9, as Latin-1 writes it."""
    shutil.move(write_run(root), os.fsdecode(os.fsencode(root) + b"/runs/caf\xe9"))


def copied(root: Path) -> None:
    shutil.copytree(write_run(root), root / "runs" / "copy")


def two_budgets(root: Path) -> None:
    write_run(root, 0)
    write_run(root, 1, budget="images=128")


def one_of_two_emptied(root: Path) -> None:
    write_run(root, 0)
    (write_run(root, 1) / "eval.csv").write_bytes(b"")


def one_of_two_without_header(root: Path) -> None:
    write_run(root, 0)
    table = write_run(root, 1) / "eval.csv"
    table.write_bytes(table.read_bytes().partition(b"\n")[2])


def says_why_without(seed: int, words: str) -> Callable[[Path], None]:
    """Assert that the page has the scores of the other seed, and says why this one has none."""

    def check(root: Path) -> None:
        page = (root / "tables" / "digits.md").read_text().replace("\\", "")
        assert "5.5" in page
        assert f"mlp_gan seed {seed} failed and has no result: " in page
        assert f"{RUNS}/seed={seed}/eval.csv {words}" in page

    return check


def two_runs_in_one_table(root: Path) -> None:
    first, second = (write_run(root, seed) / "eval.csv" for seed in (0, 1))
    row = second.read_text().splitlines(keepends=True)[1].replace("generator", "other")
    first.write_text(first.read_text() + row)


def without_name(root: Path) -> None:
    (root / "runs").mkdir()
    (root / "runs" / "status.json").write_text(json.dumps({"status": "running"}))


def compared(
    given: str,
    said: str,
    prepare: Prepare = nothing,
    arguments: tuple[str, ...] = COMPARED,
    check: Callable[[Path], None] | None = None,
) -> Case:
    return Case(given, said, arguments, prepare, program="bench.compare", check=check)


def made_by(words: str) -> Prepare:
    """A run whose status says so of how bench.decide made it."""

    def write(root: Path) -> None:
        (write_run(root) / "status.json").write_text(
            json.dumps({"status": "finished", "sequential": words})
        )

    return write


COMPARE = (
    compared(
        "a `status.json` with unknown words about `bench.decide`",
        (
            "<runs>/seed=0/status.json is not the status of a run ('by hand' does not say how a "
            f"run was made sequentially): {AGAIN}"
        ),
        made_by("by hand"),
    ),
    compared(
        "a `status.json` with a margin that is no ratio above 1",
        (
            "<runs>/seed=0/status.json is not the status of a run ('e-process margin=0.9 look=1' "
            f"does not say how a run was made sequentially): {AGAIN}"
        ),
        made_by("e-process margin=0.9 look=1"),
    ),
    compared(
        "no runs at all",
        "results/runs does not exist: name run directories or folders of runs",
        arguments=(),
    ),
    compared(
        "a folder without runs",
        (
            "<folder>/runs holds no run, there is no status.json or eval.csv below it: name"
            " run directories or folders of runs"
        ),
        folder("runs", {"notes.txt": b"cats"}),
    ),
    compared(
        "a finished run without `eval.csv`",
        (
            "<runs>/seed=0/eval.csv has no rows although the run is finished: give the run's "
            "command again, which scores its last point anew, or delete <runs>/seed=0 and run it "
            "again, or name other runs"
        ),
        without_table,
    ),
    compared(
        "an empty `eval.csv`",
        (
            "<runs>/seed=0/eval.csv is empty: delete <runs>/seed=0 and run it again, or "
            "name other runs"
        ),
        with_file("eval.csv", b""),
    ),
    compared(
        "an empty `eval.csv` beside that of another seed",
        "the run is named as failed, and the others are compared",
        one_of_two_emptied,
        check=says_why_without(1, "is empty"),
    ),
    compared(
        "an `eval.csv` without its header beside that of another seed",
        "the run is named as failed, and the others are compared",
        one_of_two_without_header,
        check=says_why_without(1, "has no header, its first line names no columns"),
    ),
    compared(
        "a header without rows",
        (
            "<runs>/seed=0/eval.csv has no rows although the run is finished: give the run's "
            "command again, which scores its last point anew, or delete <runs>/seed=0 and run it "
            "again, or name other runs"
        ),
        with_file("eval.csv", (",".join(COLUMNS) + "\n").encode()),
    ),
    compared(
        "an `eval.csv` that is cut short",
        (
            f"<runs>/seed=0/eval.csv is half-written: line 2 has {len(COLUMNS) - 9} of "
            f"{len(COLUMNS)} values; delete "
            "<runs>/seed=0 and run it again, or name other runs"
        ),
        cut_short,
    ),
    compared(
        "an `eval.csv` without its last line end",
        (
            "<runs>/seed=0/eval.csv is half-written: its last line does not end; delete "
            "<runs>/seed=0 and run it again, or name other runs"
        ),
        lambda root: (table := write_run(root) / "eval.csv").write_bytes(table.read_bytes()[:-1]),
    ),
    compared(
        "blind spots of an extractor in other words than ours",
        (
            "<runs>/seed=0/eval.csv: blind_domain is wrong, 'perhaps' names no blind spot of a "
            "metric: delete <runs>/seed=0 and run it again, or name other runs"
        ),
        lambda root: write_run(root, blind_domain="perhaps"),
    ),
    compared(
        "an `eval.csv` that is not UTF-8",
        ("<runs>/seed=0/eval.csv is not UTF-8 ('utf-8' codec can't decode byte 0xe9 in position …"),
        with_words(b"Example", b"\xe9xample"),
    ),
    compared(
        "an `eval.csv` of another version",
        (
            "<runs>/seed=0/eval.csv is not an eval.csv of this version: it lacks the "
            "columns recall_domain, recall_low_domain, recall_high_domain; name "
            "other runs, or delete <runs>/seed=0 and run it again"
        ),
        with_words(b"recall_", b"rec_"),
    ),
    compared(
        "an `eval.csv` that is a link to nothing",
        (
            "<runs>/seed=0/eval.csv is a link to gone.csv, which does not exist: bring that file "
            "back, or put the file itself in place of the link, or name other runs"
        ),
        linked_to_nothing,
    ),
    compared(
        "a folder called `eval.csv`",
        (
            "<runs>/seed=0/eval.csv cannot be read (Is a directory): it must be a file that you "
            "may read, or name other runs"
        ),
        folder_as_table,
    ),
    compared(
        "a folder whose name is not UTF-8",
        "<folder>/runs/caf\\udce9 has a name that is not UTF-8: rename it",
        name_that_is_not_utf_8,
    ),
    compared(
        "a seed that is no whole number",
        (
            "<runs>/seed=0 names a seed '0.5', which is no whole number: correct it in its "
            "eval.csv or path, or name other runs"
        ),
        lambda root: move(write_run(root, 0.5), root / RUNS / "seed=0"),
    ),
    compared(
        "an evaluation point that there cannot be",
        (
            "<runs>/seed=0/eval.csv has a row of checkpoint 2 of 1, which is impossible: delete "
            "<runs>/seed=0 and run it again, or name other runs"
        ),
        lambda root: nothing(write_run(root, checkpoint=2)),
    ),
    compared(
        "one seed written in two ways",
        (
            "<runs>/seed=0 and <runs>/seed=00 are the same run (digits, mlp_gan, default, seed "
            "0): name the one to compare"
        ),
        two_spellings,
    ),
    compared(
        "control characters in a path",
        ("<folder>/\\x1b[31mruns does not exist: name run directories or folders of runs"),
        arguments=("{folder}/\x1b[31mruns", *TABLES),
    ),
    compared(
        "words for a number",
        (
            "<runs>/seed=0/eval.csv: a value of fid_domain is no number (could not convert "
            "string to float: 'low'): delete <runs>/seed=0 and run it again, or name other "
            "runs"
        ),
        with_words(b",5.5,", b",low,"),
    ),
    compared(
        "the rows of two runs in the file of one of them",
        "the run is named as failed, and the others are compared",
        two_runs_in_one_table,
        check=says_why_without(0, "mixes the rows of 2 runs"),
    ),
    compared(
        "a run and its copy",
        (
            "<folder>/runs/copy and <runs>/seed=0 are the same run (digits, mlp_gan, "
            "default, seed 0): name the one to compare"
        ),
        copied,
    ),
    compared(
        "a damaged `status.json`",
        (
            "<runs>/seed=0/status.json is not the status of a run (Expecting property name "
            f"enclosed in double quotes: line 1 column 2 (char 1)): {AGAIN}"
        ),
        with_file("status.json", b"{"),
    ),
    compared(
        "a `status.json` that is nested too deeply",
        (
            "<runs>/seed=0/status.json is not the status of a run (it is nested too deeply): "
            "delete this file and give the run's command again, which goes on from the last "
            "checkpoint"
        ),
        with_file("status.json", b"[" * 100_000),
    ),
    compared(
        "a run of a model with a path for a name",
        (
            "<runs>/seed=0 names a data set, model, variant, seed or sampler '../x', but names are "
            "1 to 100 printable characters, without / and \\ and with no dot as the first: name "
            "other runs"
        ),
        lambda root: write_run(root, model="../x"),
    ),
    compared(
        "a run that has no rows and no name",
        (
            "<folder>/runs has no evaluation yet and its path does not end in "
            "<dataset>/<model>/<variant>/seed=<seed>: cannot tell which run it is, move it "
            "to such a path or name other runs"
        ),
        without_name,
    ),
    compared(
        "runs of different budgets",
        (
            "runs on digits that differ in budget cannot share a table: 'images=64' in "
            "<runs>/seed=0, 'images=128' in <runs>/seed=1; name the runs to compare, as in "
            "python -m bench.compare <runs>/seed=1, or split the tables with --allow-mixed "
            "budget, or map sizes, numbers of images and budgets with --map"
        ),
        two_budgets,
    ),
    compared(
        "an unknown field to be mixed",
        (
            "--allow-mixed budgte: there is no such field, choose from data_hash, "
            "train_images, image_shape, reference, reference_size, samples, held_out_samples, "
            "class_labels, extractors, preprocessing, metric_backend, budget, precision, device, "
            "threads, processes"
        ),
        two_budgets,
        (*COMPARED, "--allow-mixed", "budgte"),
    ),
    compared(
        "a page in another folder",
        "--page '../modes' must be a file name of letters, digits, '-' and '_'",
        two_budgets,
        (*COMPARED, "--page", "../modes"),
    ),
    compared(
        "a report rewritten all the time, `--watch 0`",
        (
            "--watch must be 5 to 3600 seconds, got '0': give another number, or none for 60 "
            "(folders of runs come before it)"
        ),
        two_budgets,
        (*COMPARED, "--watch", "0"),
    ),
    compared(
        "folders of runs after `--watch`",
        (
            "--watch must be 5 to 3600 seconds, got '<folder>/runs': give another number, or none "
            "for 60 (folders of runs come before it)"
        ),
        two_budgets,
        (*TABLES, "--watch", "{folder}/runs"),
    ),
    compared(
        "a watched report that is not wanted",
        "--watch rewrites the report again and again: leave out --no-report",
        two_budgets,
        (*COMPARED, "--watch", "--no-report"),
    ),
    compared(
        "a watched report to be uploaded",
        "--watch rewrites the report again and again: leave out --wandb",
        two_budgets,
        (*COMPARED, "--watch", "--wandb", "cats"),
    ),
    compared(
        "the explanation of columns, watched",
        "--columns compares no runs: leave out all other arguments",
        two_budgets,
        ("--columns", "--watch"),
    ),
    compared(
        "a watched report in a folder that is a file",
        "<folder>/report/report/index.html cannot be written (Not a directory): name another "
        "folder with --out",
        file("report", b"mine"),
        ("{folder}/runs", "--watch", "--out", "{folder}/report"),
    ),
    compared(
        "a server for the report, `--serve`",
        "--serve was removed: the report is one file, open it with --open",
        two_budgets,
        ("{folder}/runs", "--serve", "8000"),
    ),
    compared(
        "an argument beside `--columns`",
        "--columns compares no runs: leave out all other arguments",
        two_budgets,
        ("--columns", "{folder}/runs"),
    ),
    compared(
        "a report to open that is left out",
        "--open shows the report: leave out --no-report",
        two_budgets,
        ("{folder}/runs", "--open", "--no-report"),
    ),
)

AREAS = {"Runs to compare": COMPARE}
