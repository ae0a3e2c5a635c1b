"""trainer.keep=best: which weights are kept, after a kill or with a larger budget too."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from in_process import bench

from bench import load
from bench.errors import RunError
from bench.export import main as export
from bench.runs.directory import RunDirectory
from bench.training import checkpoint

QUICK = ("model=mlp_gan", "dataset=digits", "threads=1", "evaluator.samples=20", "device=cpu")
QUICK += ("evaluator.resamples=0", "evaluator.cost_seconds=0", "model.training.batch_size=16")
QUICK += ("budget.checkpoints=4",)
BEST = (*QUICK, "trainer.keep=best", "budget.images=128")
CPU = torch.device("cpu")
HELD_OUT = (
    "nn_ratio_domain",
    "fid_held_out_domain",
    "fid_trained_domain",
    "nearest_trained_domain",
)


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "eval.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def of_last(run: Path) -> list[dict[str, str]]:
    """The rows without those of the selected weights."""
    return [row for row in rows(run) if not row["kept_point"]]


def kept(run: Path) -> dict:
    state = checkpoint.load_kept(run / "checkpoints", CPU)
    assert state is not None
    return state


def selected(run: Path) -> tuple[int, float]:
    """The point of the lowest validation FID, and that FID."""
    found = [(float(row["validation_fid"]), int(row["checkpoint"])) for row in of_last(run)]
    fid, point = min(found)
    return point, fid


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    return bench(*BEST, f"results_root={tmp_path_factory.mktemp('whole')}").directory


def test_the_selected_weights_are_scored_at_the_end_as_at_their_point(whole: Path) -> None:
    *points, best = rows(whole)
    assert [row["checkpoint"] for row in (*points, best)] == ["1", "2", "3", "4", "4"]
    point, fid = selected(whole)
    assert (best["weights"], best["kept_point"]) == ("best of 4 (raw)", str(point))
    assert float(best["validation_fid"]) == fid
    assert {row["weights"] for row in points} == {"raw"}
    there = points[point - 1]  # scored by the same samples against the same training images
    assert float(best["fid_domain"]) == pytest.approx(float(there["fid_domain"]), rel=1e-5)
    assert best["fid_domain"] != best["validation_fid"]
    for column in ("step", "images", "train_seconds", "train_flops"):  # what they cost to find
        assert best[column] == points[-1][column]
    assert not any(best[column] for column in HELD_OUT)  # by which they were selected
    assert all(points[-1][column] for column in HELD_OUT)
    assert best["fid_infinity_domain"]
    state = kept(whole)
    assert (state["point"], state["of"], state["step"]) == (point, "raw", int(there["step"]))
    assert (whole / "samples/best_generator.png").exists()


def test_the_last_checkpoint_is_what_it_is_without(whole: Path, tmp_path: Path) -> None:
    plain = bench(*QUICK, "budget.images=128", f"results_root={tmp_path}").directory
    assert not list((plain / "checkpoints").glob("kept*"))
    for mine, its in zip(of_last(whole), rows(plain), strict=True):
        assert its["validation_fid"] == its["kept_point"] == ""
        assert mine["recipe"] == its["recipe"]
        assert float(mine["fid_domain"]) == pytest.approx(float(its["fid_domain"]), rel=1e-5)


def test_the_best_weights_can_be_loaded_and_exported(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / whole.name
    shutil.copytree(whole, run)
    state = kept(run)
    weights = {name: value + 1 for name, value in state["weights"].items()}
    checkpoint.save_kept({**state, "weights": weights, "step": 7}, run / "checkpoints", 9)
    best, last = load(run, "cpu", keep="best"), load(run, "cpu")
    assert (best.point, best.step, best.weights) == (9, 7, "raw")
    assert "raw weights of step 7, the best evaluation point (9), on cpu" in repr(best)
    assert (last.point, "best evaluation point" in repr(last)) == (None, False)
    for name, value in best.module.state_dict().items():
        assert torch.equal(value, weights[name])
    assert not np.array_equal(best.sample(), last.sample())
    words = [str(run), "--device", "cpu", "--keep", "best", "--out"]
    assert export([*words, str(tmp_path / "best.npz")]) == 0
    exported = np.load(tmp_path / "best.npz")
    assert np.array_equal(exported["arr_0"], best.sample())
    assert "Best evaluation point: 9" in exported["metadata"].tolist()


def test_the_best_weights_of_a_run_that_kept_none_are_refused(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = bench(*QUICK, "budget.images=128", f"results_root={tmp_path}").directory
    with pytest.raises(RunError, match=r"was made with trainer\.keep=last, and only its last"):
        load(run, "cpu", keep="best")
    assert export([str(run), "--keep", "best", "--out", str(tmp_path / "x.npz")]) == 2
    assert "trainer.keep=last" in capsys.readouterr().err
    with pytest.raises(RunError, match="keep must be last or best, got 'first'"):
        load(run, "cpu", keep="first")  # pyright: ignore[reportArgumentType]
    lost = tmp_path / "lost"
    shutil.copytree(whole, lost, ignore=shutil.ignore_patterns("kept-point=*.pt"))
    with pytest.raises(RunError, match="has no weights of its best evaluation point"):
        load(lost, "cpu", keep="best")


class KilledError(BaseException):
    """Stands for SIGKILL: nothing after it runs."""


@pytest.mark.parametrize("nth", [1, 2, 4])
def test_a_kill_between_keeping_and_recording_changes_nothing(
    whole: Path, tmp_path: Path, monkeypatch, nth: int
) -> None:
    append, calls = RunDirectory.append_eval, []

    def dying(*arguments) -> None:
        calls.append(1)
        if len(calls) == nth:
            raise KilledError
        append(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "append_eval", dying)
        with pytest.raises(KilledError):
            bench(*BEST, f"results_root={tmp_path}")
    run = bench(*BEST, f"results_root={tmp_path}").directory
    for mine, its in zip(rows(run), rows(whole), strict=True):
        names = ("checkpoint", "weights", "kept_point", "step")
        assert [mine[name] for name in names] == [its[name] for name in names]
        for column in ("validation_fid", "fid_domain"):
            assert float(mine[column]) == pytest.approx(float(its[column]), rel=1e-5)
    mine, its = kept(run), kept(whole)
    assert (mine["point"], mine["step"]) == (its["point"], its["step"])
    assert all(torch.equal(value, its["weights"][key]) for key, value in mine["weights"].items())


def test_a_larger_budget_selects_among_the_points_of_both(whole: Path) -> None:
    root = whole.parents[4]
    longer = (*QUICK, "trainer.keep=best", "budget.images=256", f"results_root={root}")
    longer = bench(*longer).directory
    points = of_last(longer)
    assert len(points) == 6  # 4 of the shorter run, and those at 3/4 and at the end
    assert [row["validation_fid"] for row in points[:4]] == [
        row["validation_fid"] for row in of_last(whole)
    ]
    *_, best = rows(longer)
    assert len(rows(longer)) == 7
    assert best["weights"] == "best of 6 (raw)"
    assert int(best["kept_point"]) == selected(longer)[0] == kept(longer)["point"]


def test_lost_weights_are_missed_before_training_goes_on(whole: Path) -> None:
    rows_of, finished = whole / "eval.csv", (whole / "eval.csv").read_text(encoding="utf-8")
    status = whole / "status.json"
    text = status.read_text(encoding="utf-8")
    point = kept(whole)["point"]
    file = whole / "checkpoints" / f"kept-point={point}.pt"
    aside = file.rename(whole / "aside")
    try:
        status.write_text(text.replace('"finished"', '"running"'), encoding="utf-8")
        with pytest.raises(RunError, match=rf"has lost kept-point={point}\.pt, the best weights"):
            bench(*BEST, f"results_root={whole.parents[4]}")
    finally:
        aside.rename(file)
        status.write_text(text, encoding="utf-8")
        rows_of.write_text(finished, encoding="utf-8")


def test_a_finished_run_without_the_rows_of_its_best_weights_is_not_complete(whole: Path) -> None:
    with RunDirectory(whole, reading=True) as records:
        assert records.has_every_point()
        records.eval_rows = lambda: of_last(whole)  # type: ignore[method-assign]
        assert not records.has_every_point()
