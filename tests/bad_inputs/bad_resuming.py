"""Bad records of runs to resume."""

import csv
from pathlib import Path

from bad_case import Case
from bad_files import Prepare
from spoiled_runs import AGAIN, damage_checkpoints, multiplied, with_config

from bench.runs.directory import RunDirectory


def unfinished(name: str, content: bytes) -> Prepare:
    """Another content of one of its files, and no status: the run is resumed."""

    def spoil(run: Path) -> None:
        (run / "status.json").unlink()
        (run / name).write_bytes(content)

    return spoil


def dangling(name: str, target: str) -> Prepare:
    """A link to nothing in place of a file, and no status: the run is resumed."""

    def spoil(run: Path) -> None:
        (run / "status.json").unlink()
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(target)

    return spoil


def rearranged(run: Path) -> None:
    """Save eval.csv as a spreadsheet might, and resume."""
    (run / "status.json").unlink()
    table = run / "eval.csv"
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = sorted(rows[0])
    with table.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def has_its_row(run: Path) -> None:
    """Assert that the run is finished with the row of its only point."""
    with RunDirectory(run, reading=True) as records:
        (row,) = records.eval_rows()
        assert records.has_every_point()
        assert records.status is not None
        assert records.status.status == "finished"
    assert float(row["fid_domain"]) > 0
    assert row["checkpoint"] == "1"
    assert row["sampler"] == "generator"


RESUMED = (
    Case(
        "another configuration in the same place",
        (
            "run <run> was made with another configuration (trainer.log_every: 49 → 50): "
            "delete the directory or change results_root"
        ),
        (),
        spoil=with_config("log_every: 50", "log_every: 49"),
    ),
    Case(
        "a damaged `config.yaml`",
        "<run>/config.yaml is damaged (while parsing a flow node expected the node content…",
        (),
        spoil=unfinished("config.yaml", b"model: ["),
    ),
    Case(
        "a damaged `status.json`",
        (
            "<run>/status.json is not the status of a run (Expecting property name enclosed in "
            f"double quotes: line 1 column 2 (char 1)): {AGAIN}"
        ),
        (),
        spoil=lambda run: (run / "status.json").write_text("{"),
    ),
    Case(
        "a `config.yaml` whose YAML aliases multiply",
        (
            "<run>/config.yaml is damaged (it has YAML aliases, which are not supported): delete "
            "<run> and run again"
        ),
        (),
        spoil=unfinished("config.yaml", multiplied()),
    ),
    Case(
        "a `status.json` that is nested too deeply",
        (
            "<run>/status.json is not the status of a run (it is nested too deeply): delete this "
            "file and give the run's command again, which goes on from the last checkpoint"
        ),
        (),
        spoil=lambda run: (run / "status.json").write_text("[" * 100_000),
    ),
    Case(
        "a `status.json` with text for a number",
        (
            "<run>/status.json is not the status of a run (its step is 'one'): delete this file "
            "and give the run's command again, which goes on from the last checkpoint"
        ),
        (),
        spoil=lambda run: (run / "status.json").write_text('{"status": "running", "step": "one"}'),
    ),
    Case(
        "an unknown status",
        (
            "<run>/status.json is not the status of a run (its status is 'done', must be "
            f"'running', 'finished' or 'failed'): {AGAIN}"
        ),
        (),
        spoil=lambda run: (run / "status.json").write_text('{"status": "done"}'),
    ),
    Case(
        "an `eval.csv` that is not UTF-8",
        (
            "<run>/eval.csv is not UTF-8 ('utf-8' codec can't decode byte 0xff in position 8:"
            " invalid start byte): save it as UTF-8"
        ),
        (),
        spoil=unfinished("eval.csv", b"dataset\n\xff\n"),
    ),
    Case(
        "an `eval.csv` that is cut short",
        "<run>/eval.csv has rows that are not whole: delete <run> and run again",
        (),
        spoil=unfinished("eval.csv", b"dataset,model\ndigits\n"),
    ),
    Case(
        "an `eval.csv` with other columns",
        "<run>/eval.csv has other columns: delete <run> and run again",
        (),
        spoil=unfinished("eval.csv", b"checkpoint,model\n1,mlp_gan\n"),
    ),
    Case(
        "a `train.csv` with words for numbers",
        (
            "<run>/train.csv is damaged (invalid literal for int() with base 10: 'one'): "
            "delete <run> and run again"
        ),
        (),
        spoil=unfinished("train.csv", b"step,images,train_seconds,key,value\none,64,0,loss,1\n"),
    ),
    Case(
        "checkpoints that are all damaged",
        "every checkpoint in <run>/checkpoints is damaged: delete the run to repeat it",
        (),
        spoil=damage_checkpoints,
    ),
    Case(
        "a foreign file among the checkpoints",
        (
            "<run>/checkpoints/step=abc.pt is not named as a checkpoint is, step=<number>.pt: "
            "rename it, or move it to another folder"
        ),
        (),
        spoil=unfinished("checkpoints/step=abc.pt", b"cat"),
    ),
    Case(
        "a checkpoint that is a link to nothing",
        (
            "<run>/checkpoints/step=9.pt is a link to gone.pt, which does not exist: bring that "
            "back, or remove the link"
        ),
        (),
        spoil=dangling("checkpoints/step=9.pt", "gone.pt"),
    ),
    Case(
        "an `eval.csv` that is a link to nothing",
        (
            "<run>/eval.csv is a link to gone.csv, which does not exist: bring that back, or remove"
            " the link"
        ),
        (),
        spoil=dangling("eval.csv", "gone.csv"),
    ),
    Case(
        "an emptied `eval.csv` of a finished run, all of whose weights are kept",
        "the rows are made again",
        (),
        spoil=lambda run: (run / "eval.csv").write_bytes(b""),
        check=has_its_row,
    ),
    Case(
        "an `eval.csv` with a byte order mark and columns in another order",
        "it is read as any other",
        (),
        spoil=rearranged,
        check=has_its_row,
    ),
)

AREAS = {"Runs to resume": RESUMED}
