"""Questions about pairs of models, from run directories: states, evidence, failures and costs."""

import math

import numpy as np
import pytest
from synthetic_runs import PROTOCOL, costs, scores

from bench.compare.comparison import Comparison, compare_runs
from bench.compare.read import read_runs
from bench.compare.sequential import evidence
from bench.compare.topics.settled import (
    contests,
    is_sequential,
    margin_of,
    questions_of_pairs,
    seconds_per_seed,
)
from bench.decide.answer import leaders
from bench.runs.directory import Status
from bench.runs.looks import Look

FAILED = Status("failed", "loss is nan", step=7)


def decided(look: int = 0, margin: float = 1.1) -> Status:
    """The status of a finished run that bench.decide made."""
    return Status("finished", step=100, sequential=Look(margin=margin, look=look).text)


@pytest.fixture
def compared(make_run, tmp_path):
    """Compare models with these FIDs by seed, made by bench.decide: compared(model=(…), …)."""

    def compared(status: Status | None = None, **models: tuple[float, ...]) -> Comparison:
        for model, fids in models.items():
            for seed, fid in enumerate(fids):
                rows = {"ddim-50": scores(fid) | costs(50, 30.0)}
                make_run(model, seed, rows, status=status or decided(seed))
        return compare_runs(read_runs([tmp_path]))

    return compared


def noisy(mean: float, seeds: int, spread: float, start: int = 0) -> tuple[float, ...]:
    rng = np.random.default_rng(start)
    return tuple((mean * np.exp(rng.normal(0, spread, seeds))).tolist())


def test_a_clear_difference_is_settled_with_its_size_and_evidence(compared):
    a, b = noisy(10, 8, 0.05), noisy(20, 8, 0.05, start=1)
    (question,) = questions_of_pairs(compared(dcgan=b, ddpm=a))
    assert question.state == "settled"
    assert question.asks == "Which has the lower FID on digits, ddpm or dcgan?"
    assert question.name == "digits: dcgan or ddpm"
    assert question.answer.startswith("ddpm is lower: FID ddpm / dcgan 0.5")
    assert question.needs == (("ddpm", "default"), ("dcgan", "default"))
    assert (question.seeds, question.needed, question.threshold) == (8, 8, 20)
    assert question.path == pytest.approx(evidence(np.log(a) - np.log(b)).tolist())


def test_models_that_hardly_differ_are_equal_within_the_margin_of_the_runs(compared):
    a, b = noisy(10, 12, 0.01), noisy(10.05, 12, 0.01, start=1)
    comparison = compared(ddpm=a, edm=b)
    (question,) = questions_of_pairs(comparison)
    assert (question.state, question.needed) == ("equal", 12)
    assert question.answer.startswith("equal within ±10 %: FID ddpm / edm")
    assert max(question.equal_path) >= question.threshold == 20
    (narrow,) = questions_of_pairs(comparison, 1.0001)
    assert narrow.state != "equal"


def test_the_margin_is_that_of_the_latest_look(compared):
    comparison = compared(decided(3, 1.05), ddpm=(9.0, 9.1))
    assert margin_of(comparison) == 1.05
    later = compared(decided(4, 1.2), edm=(9.0, 9.1))
    assert margin_of(later) == 1.2
    assert margin_of(compare_runs([run for run in later.runs if run.model == "ddpm"])) == 1.05


def test_an_open_question_says_how_many_seeds_and_seconds_about(compared):
    (contest,) = contests(compared(ddpm=(9.0, 10.0, 11.0, 9.5), edm=(9.5, 10.2, 12.5, 9.4)))
    assert contest.question.state == "open"
    assert contest.question.needed > 4
    assert contest.left == math.ceil(contest.question.needed) - 4
    assert contest.seconds == 240  # twice 120 s of training
    assert contest.seconds_left == 240 * contest.left
    assert contest.lower is None


def test_a_seed_costs_what_runs_took_or_of_runs_of_before_their_training(make_run, tmp_path):
    for seed, seconds in enumerate((150.0, 0.0, 170.0)):
        row = {"g": scores(9.0) | costs(1, 0.1)}
        make_run("dcgan", seed, row, status=Status("finished", seconds=seconds))
    comparison = compare_runs(read_runs([tmp_path]))
    assert seconds_per_seed(comparison, comparison.entries[0]) == 150  # of 120, 150 and 170


def test_a_model_that_is_worse_than_another_one_is_dropped(compared):
    rng = np.random.default_rng(3)
    models = {
        name: tuple(np.exp(rng.normal(np.log(mean), 0.05, 9)))
        for name, mean in {"a": 10.0, "b": 10.8, "c": 40.0, "d": 41.0}.items()
    }
    by_name = {question.name: question for question in questions_of_pairs(compared(**models))}
    assert by_name["digits: a or c"].state == by_name["digits: b or c"].state == "settled"
    assert by_name["digits: c or d"].dropped
    assert not by_name["digits: a or b"].dropped


def test_a_model_that_always_fails_loses_after_three_runs(compared, make_run, tmp_path):
    compared(ddpm=(9.0, 9.1, 9.2), edm=(9.5, 9.4, 9.9))
    for seed in range(3):
        make_run("dcgan", seed, {}, status=FAILED)
        found = questions_of_pairs(compare_runs(read_runs([tmp_path])))
        of_failing = [question for question in found if "dcgan" in question.name]
        assert len(found) == 3
        assert [q.state for q in of_failing] == [("open", "open", "settled")[seed]] * 2
        assert [q.seeds for q in of_failing] == [0, 0]
    answer = of_failing[0].answer
    assert answer == "ddpm is lower: dcgan has no result, all of its 3 runs failed"
    left = next(question for question in found if "dcgan" not in question.name)
    assert left.threshold == 20  # the failing model does not count in Holm's correction


def test_a_run_that_has_not_ended_does_not_keep_a_model_that_always_fails_in(
    compared, make_run, tmp_path
):
    compared(ddpm=(9.0, 9.1, 9.2))
    for seed in range(3):
        make_run("dcgan", seed, {}, status=FAILED)
    make_run("dcgan", 3, {}, status=Status("running", step=7))
    (question,) = questions_of_pairs(compare_runs(read_runs([tmp_path])))
    assert question.state == "settled"
    assert question.answer == "ddpm is lower: dcgan has no result, all of its 3 ended runs failed"


def test_a_model_whose_runs_fail_sometimes_is_compared_by_the_others(compared, make_run, tmp_path):
    compared(ddpm=noisy(10, 8, 0.05), edm=noisy(20, 8, 0.05, start=1))
    for seed in (8, 9, 10):
        make_run("edm", seed, {}, status=FAILED)
    (question,) = questions_of_pairs(compare_runs(read_runs([tmp_path])))
    assert (question.state, question.seeds) == ("settled", 8)


def test_models_without_any_result_are_open_or_ask_nothing(make_run, tmp_path):
    for seed in range(3):
        for model in ("dcgan", "mlp_gan"):
            make_run(model, seed, {}, status=FAILED)
        (*found,) = questions_of_pairs(compare_runs(read_runs([tmp_path])))
        assert [question.state for question in found] == ([] if seed == 2 else ["open"])
        assert all(math.isnan(question.needed) for question in found)


def test_only_common_seeds_count_in_the_order_of_their_numbers(make_run, tmp_path):
    fids = {"ddpm": {2: 9.0, 10: 9.2, 0: 9.4}, "edm": {10: 12.0, 1: 5.0, 2: 13.0}}
    for model, by_seed in fids.items():
        for seed, fid in by_seed.items():
            make_run(model, seed, {"g": scores(fid)}, status=decided())
    (question,) = questions_of_pairs(compare_runs(read_runs([tmp_path])))
    wanted = evidence(np.log([9.0, 9.2]) - np.log([13.0, 12.0]))
    assert question.path == pytest.approx(wanted.tolist()) or question.path == pytest.approx(
        evidence(np.log([13.0, 12.0]) - np.log([9.0, 9.2])).tolist()
    )


def test_fids_that_are_not_positive_are_never_called_equal(compared):
    (question,) = questions_of_pairs(compared(ddpm=(-0.001,) * 12, edm=(-0.001,) * 12))
    assert (question.state, question.equal_path) == ("open", ())


def test_runs_that_did_not_get_their_cores_are_left_out(make_run, tmp_path):
    timed = PROTOCOL | {"budget": "seconds=120"}
    for seed in range(4):
        for model, fid in (("ddpm", 9.0), ("edm", 12.0)):
            waited = {"train_waiting_seconds": 60.0 if seed == 3 else 0.0}
            rows = {"g": scores(fid + seed / 10) | costs(1, 0.1) | waited}
            make_run(model, seed, rows, status=decided(), protocol=timed)
    (question,) = questions_of_pairs(compare_runs(read_runs([tmp_path])))
    assert question.seeds == 3


def test_a_model_of_which_no_run_got_its_cores_is_open_not_forgotten(make_run, tmp_path):
    timed = PROTOCOL | {"budget": "seconds=120"}
    fids = {"ddpm": noisy(9, 8, 0.01), "edm": noisy(22, 8, 0.01, start=1), "vdm": (5.0,)}
    for model, by_seed in fids.items():
        for seed, fid in enumerate(by_seed):
            waited = {"train_waiting_seconds": 60.0 if model == "vdm" else 0.0}
            rows = {"g": scores(fid) | costs(1, 0.1) | waited}
            make_run(model, seed, rows, status=decided(), protocol=timed)
    comparison = compare_runs(read_runs([tmp_path]))
    found = {question.name: question for question in questions_of_pairs(comparison)}
    assert set(found) == {"digits: ddpm or edm", "digits: ddpm or vdm", "digits: edm or vdm"}
    waits = found["digits: ddpm or vdm"]
    assert (waits.state, waits.seeds, waits.dropped) == ("open", 0, False)
    assert waits.answer == "no common seed yet with a result"
    assert found["digits: ddpm or edm"].state == "settled"
    assert [entry.model for entry in leaders(comparison, 1.1)] == ["ddpm"]


def test_a_comparison_is_sequential_if_one_trained_run_is(compared, make_run, tmp_path):
    fixed = compared(Status("finished", step=100), ddpm=(9.0, 9.1), edm=(9.5, 9.4))
    assert not is_sequential(fixed)
    assert len(questions_of_pairs(fixed)) == 1
    make_run("edm", 2, {"ddim-50": scores(9.3)}, status=decided())
    assert is_sequential(compare_runs(read_runs([tmp_path])))


@pytest.mark.parametrize("margin", [1.0, 0.5, math.nan, math.inf])
def test_a_margin_without_room_is_refused(compared, margin):
    with pytest.raises(ValueError, match="not a ratio above 1"):
        questions_of_pairs(compared(ddpm=(9.0, 9.1), edm=(9.5, 9.4)), margin)


def test_one_model_has_no_question(compared):
    assert questions_of_pairs(compared(ddpm=(9.0, 9.1))) == ()
