"""trainer.keep=best: which weights are kept, after a kill or with a larger budget too."""

import csv
from pathlib import Path

import pytest
import torch
from in_process import bench

from bench.errors import RunError
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
