"""A larger budget continues the finished run with the smaller one."""

import csv
import logging
import os
from pathlib import Path

import pytest
import torch
from in_process import bench, compose

from bench.run import dry_run
from bench.runs.directory import RunDirectory
from bench.runtime.outlook import CONTINUED, NEW
from bench.training import checkpoint
from bench.training.trainer import Trainer

QUICK = ("model=mlp_gan", "dataset=digits", "threads=1", "evaluator.samples=20")
QUICK += ("evaluator.resamples=0", "evaluator.cost_seconds=0", "trainer.log_every=3", "device=cpu")


def run(root: Path, *overrides: str) -> Path:
    result = bench(*QUICK, f"results_root={root}", *overrides)
    assert result.status == "finished"
    return result.directory


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "eval.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def losses(run: Path) -> list[tuple[str, str, str]]:
    with (run / "train.csv").open(encoding="utf-8", newline="") as file:
        return [(row["step"], row["key"], row["value"]) for row in csv.DictReader(file)]


def content(run: Path) -> dict[str, bytes]:
    return {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.is_file()}


def end(run: Path) -> dict:
    state = checkpoint.load_latest(run / "checkpoints", torch.device("cpu"))
    assert state is not None
    return state


def equal(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return isinstance(b, type(a)) and len(a) == len(b) and all(map(equal, a, b))
    return a == b


def trained(monkeypatch) -> list[int]:
    """The steps that are trained from now on."""
    steps, step = [], Trainer.step

    def counted(self: Trainer) -> None:
        steps.append(self.spent.step)
        step(self)

    monkeypatch.setattr(Trainer, "step", counted)
    return steps


def test_a_larger_budget_goes_on_and_ends_as_one_run_from_the_start(tmp_path, monkeypatch):
    short = run(tmp_path / "a", "budget.images=1280", "budget.checkpoints=2")
    before = content(short)
    steps = trained(monkeypatch)
    longer = run(tmp_path / "a", "budget.images=2560", "budget.checkpoints=4")
    assert steps == list(range(20, 40))  # batches of 64: the first 20 steps are not repeated
    assert content(short) == before  # nothing is lost
    whole = run(tmp_path / "b", "budget.images=2560", "budget.checkpoints=4")
    for name in ("model", "ema", "optimizers", "losses", "flops"):
        assert equal(end(longer)[name], end(whole)[name]), name
    made, expected = rows(longer), rows(whole)
    names = ("variant", "overrides", "budget", "checkpoint", "checkpoints", "step", "images")
    assert [[row[n] for n in names] for row in made] == [
        [row[n] for n in names] for row in expected
    ]
    for ours, theirs in zip(made, expected, strict=True):
        fids = float(ours["fid_domain"]), float(theirs["fid_domain"])
        assert fids[0] == pytest.approx(fids[1], rel=1e-6)
    assert made[1]["fid_infinity_domain"] == rows(short)[1]["fid_infinity_domain"] != ""
    with RunDirectory(longer, reading=True) as records:
        assert records.has_every_point()
    assert (longer / "samples" / "checkpoint=1_generator.png").exists()
    assert losses(longer) == losses(whole)


def test_the_default_of_one_point_makes_a_second_point_of_it(tmp_path, caplog):
    run(tmp_path, "budget.images=640")
    with caplog.at_level(logging.INFO, "bench"):
        twice = run(tmp_path, "budget.images=1280")
    assert "training goes on from" in caplog.text
    third = run(tmp_path, "budget.images=2560")
    assert [row["images"] for row in rows(twice)] == ["640", "1280"]
    assert [row["images"] for row in rows(third)] == ["640", "1280", "2560"]
    assert {row["checkpoints"] for row in rows(third)} == {"3"}
    assert {row["budget"] for row in rows(third)} == {"images=2560"}


def test_seconds_of_another_clock_are_not_gone_on_with(tmp_path, monkeypatch):
    def budget(*words):
        return ("budget.images_per_second=640", *words)

    half = run(tmp_path, *budget("budget.seconds=1"))
    steps = trained(monkeypatch)
    whole = run(tmp_path, *budget("budget.seconds=2"))
    assert steps == list(range(10, 20))
    assert [row["train_seconds"] for row in rows(whole)] == ["1.0", "2.0"]
    assert {row["budget"] for row in rows(half)} == {"seconds=1,clock=nominal"}
    steps.clear()
    run(tmp_path, "budget.images_per_second=320", "budget.seconds=4")
    assert steps == list(range(20))


class KilledError(Exception):
    """A kill at this moment."""


def kill(*_: object, **__: object) -> None:
    raise KilledError


@pytest.mark.parametrize("moment", ["before the checkpoint", "after it", "in training"])
def test_a_kill_at_any_moment_changes_nothing(tmp_path, monkeypatch, moment):
    run(tmp_path, "budget.images=640")
    with monkeypatch.context() as patched:
        if moment == "before the checkpoint":
            patched.setattr(checkpoint, "save", kill)
        elif moment == "after it":
            patched.setattr("bench.job.Recorder", kill)
        else:
            patched.setattr("bench.runs.writer.Recorder.on_log", kill)
        with pytest.raises(KilledError):
            run(tmp_path, "budget.images=1280")
    steps = trained(monkeypatch)
    longer = run(tmp_path, "budget.images=1280")
    assert steps == list(range(10, 20))
    assert [row["images"] for row in rows(longer)] == ["640", "1280"]
    whole = run(tmp_path / "whole", "budget.images=1280")
    assert equal(end(longer)["model"], end(whole)["model"])


COSINE = "+model.training.lr_schedule._target_=bench.training.recipe.cosine"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (COSINE, "the learning rate depends on the share of the budget that is spent)"),
        ("checkpoints", "it has no checkpoint any more)"),
        ("rows", "rows of its eval.csv are missing)"),
        ("device", "its device is another CPU, that of this run is cpu:"),
    ],
)
def test_why_training_starts_anew_is_said_in_a_sentence(
    tmp_path, caplog, monkeypatch, change, sentence
):
    more = [change] if "=" in change else []
    short = run(tmp_path, "budget.images=640", "budget.checkpoints=2", *more)
    if change == "checkpoints":
        for file in (short / "checkpoints").iterdir():
            os.remove(file)
    text = (short / "eval.csv").read_text(encoding="utf-8")
    if change == "rows":
        lines = text.splitlines(keepends=True)
        (short / "eval.csv").write_text(lines[0] + lines[2], encoding="utf-8")
    if change == "device":
        with RunDirectory(short) as records:
            changed = [row | {"device": "another CPU"} for row in records.eval_rows()]
            records.write_eval(changed, tuple(changed[0]))
    steps = trained(monkeypatch)
    with caplog.at_level(logging.WARNING, "bench"):
        run(tmp_path, "budget.images=1280", *more)
    (said,) = (r.getMessage() for r in caplog.records if "is not continued" in r.getMessage())
    assert said.startswith(f"⚠ {short} is not continued with the larger budget ({sentence}")
    assert said.endswith("training starts anew, and that run stays as it is")
    assert steps == list(range(20))


def test_only_a_smaller_budget_is_continued(tmp_path, monkeypatch):
    run(tmp_path, "budget.images=640", "seed=1")  # another seed
    run(tmp_path, "budget.images=640", "model.build.latent_dim=32")  # another model
    run(tmp_path, "budget.images=1280")
    steps = trained(monkeypatch)
    run(tmp_path, "budget.images=1280", "budget.checkpoints=2")  # the same budget, other points
    assert steps == list(range(20))


def test_a_plan_counts_what_is_left_after_the_shorter_run(tmp_path):
    more = ("budget.seconds=6", "budget.checkpoints=2")
    given = [*QUICK, f"results_root={tmp_path}", *more]
    assert dry_run(compose(*given), given, known={}).training == 6
    run(tmp_path, "budget.seconds=2", "budget.checkpoints=1")
    before = content(tmp_path)
    planned = dry_run(compose(*given), given, known={})
    assert planned.state == CONTINUED
    assert planned.training == pytest.approx(4, abs=0.5)
    assert (planned.evaluated, planned.forecast.points) == (1, 3)
    assert content(tmp_path) == before
    anew = dry_run(compose(*given, COSINE), [*given, COSINE], known={})
    assert (anew.state, anew.training) == (NEW, 6)
