"""What run directories say of a project."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from simulated_project import SECONDS, Simulation, make_unit, questions
from synthetic_runs import PROTOCOL, write_run

from bench.compare.read import Run, read_runs
from bench.decide.plan import count_pairs
from bench.decide.project import check_protocols, given, look_at, varied_fields
from bench.decide.request import Grid
from bench.decide.units import Tally, Unit, make_units, tally
from bench.runs.directory import Status

LOOK = "e-process margin=1.1 look=2"


def test_a_tally_counts_runs_by_how_they_ended(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0})
    simulation.write("a", 0)
    simulation.write("a", 1, LOOK)
    write_run(tmp_path, "a", 2, {}, status=Status("failed", "nan", sequential=LOOK, seconds=7.0))
    write_run(tmp_path, "a", 3, {}, status=Status("running", sequential=LOOK, seconds=5.0))
    found = tally(make_unit(tmp_path, "a"))
    assert found == Tally(
        finished=frozenset({0, 1}),
        failed=frozenset({2}),
        half_done={3: 5.0},
        spent=SECONDS + 12,
        look=2,
        margins=frozenset({1.1}),
        took={0: SECONDS, 1: SECONDS},
    )
    assert found.ended == {0, 1, 2}
    assert not found.always_fails
    assert Tally(failed=frozenset({0, 1, 2})).always_fails
    assert not Tally(failed=frozenset({0, 1})).always_fails


def test_jobs_of_a_unit_differ_in_their_seed(tmp_path: Path) -> None:
    job = make_unit(tmp_path, "a").job(4)
    assert job.overrides == ("model=a", "seed=4")
    assert job.seed == "4"
    assert Path(job.run) == tmp_path / "runs" / "digits" / "a" / "default" / "seed=4"
    once = make_unit(tmp_path, "real", seeded=False)
    assert once.job(0).overrides == ("model=real",)


def test_what_is_not_trained_runs_once_and_equal_runs_are_one_unit(tmp_path: Path) -> None:
    a, real = make_unit(tmp_path, "a").planned, make_unit(tmp_path, "real", seeded=False).planned
    grids = [Grid("one", (), True), Grid("two", (), True)]
    units = make_units(grids, [[a, real], [a]])
    assert [(u.grid, u.planned.model, u.seeded) for u in units] == [
        ("one", "a", True),
        ("one", "real", False),
    ]


def test_runs_of_another_protocol_are_refused_in_one_sentence(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 6.0})
    simulation.write("a", 0)
    simulation.write("b", 0, protocol=PROTOCOL | {"device": "cuda: Example GPU"})
    with pytest.raises(ValueError, match="runs on digits differ in device") as refused:
        simulation.look()
    assert "another results_root" in str(refused.value)
    assert "\n" not in str(refused.value)


def with_protocol(unit: Unit, *overrides: str, **known: str) -> Unit:
    """A unit whose protocol is known before it runs."""
    words = (*unit.planned.overrides, *overrides)
    return replace(unit, planned=replace(unit.planned, overrides=words, protocol=known))


def check(units: Sequence[Unit], runs: Sequence[Run] = ()) -> None:
    check_protocols(units, varied_fields(units), runs)


def test_runs_that_would_differ_in_their_protocol_are_refused_before_they_run(
    tmp_path: Path,
) -> None:
    a, b = make_unit(tmp_path, "a"), make_unit(tmp_path, "b")
    none, ten = "0 resamples", "10 resamples"
    units = [
        with_protocol(a, metric_backend=none, samples="70"),
        with_protocol(b, "evaluator.resamples=10", metric_backend=ten, samples="70"),
    ]
    with pytest.raises(ValueError, match="runs on digits would differ in metric backend") as said:
        check(units)
    assert f"{none!r} in model=a, {ten!r} in model=b evaluator.resamples=10" in str(said.value)
    assert "\n" not in str(said.value)
    assert "seed" not in str(said.value)
    other = make_unit(tmp_path, "b", dataset="grid25")
    check([units[0], with_protocol(other, metric_backend=ten)])
    few = [
        with_protocol(unit, f"evaluator.samples={n}", samples=str(n))
        for unit in (a, b)
        for n in (70, 80)
    ]
    check(few)  # the experiment varies it


def test_what_is_to_run_must_fit_to_what_is_on_record_and_what_is_not_need_not(
    tmp_path: Path,
) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 6.0})
    simulation.write("a", 0)
    a, b = simulation.units
    runs = read_runs([tmp_path])
    check([with_protocol(b, device=PROTOCOL["device"])], runs)
    elsewhere = with_protocol(b, device="cuda: Example GPU")
    with pytest.raises(ValueError, match="would differ in device") as said:
        check([elsewhere], runs)
    assert "seed=0" in str(said.value)  # the run that differs
    look_at([a, elsewhere], questions, at_once=1)  # to read what there is


def test_equal_budgets_by_the_clock_and_by_a_nominal_speed_are_refused(tmp_path: Path) -> None:
    a, b = make_unit(tmp_path, "a"), make_unit(tmp_path, "b")
    clock = with_protocol(a, "budget.seconds=9", budget="seconds=9")
    words = ("budget.seconds=9", "budget.images_per_second=7")
    with pytest.raises(ValueError, match="a would count seconds=9 by the clock and b by a nominal"):
        check([clock, with_protocol(b, *words, budget="seconds=9,clock=nominal")])
    check([clock, with_protocol(b, *words, budget="seconds=8,clock=nominal")])


def test_what_the_experiment_varies_splits_its_runs(tmp_path: Path) -> None:
    units = [make_unit(tmp_path, "a"), make_unit(tmp_path, "b")]
    assert varied_fields(units) == []
    few = replace(units[1].planned, overrides=("model=b", "dataset.train_images=100", "seed=1"))
    units[1] = replace(units[1], planned=few)
    assert varied_fields(units) == ["train_images"]
    assert given(units[1], "dataset.train_images") == ("dataset.train_images=100",)


def test_nominal_speeds_of_models_are_no_difference(tmp_path: Path) -> None:
    a, b = make_unit(tmp_path, "a"), make_unit(tmp_path, "b")
    units = [
        with_protocol(a, "budget.seconds=9", "budget.images_per_second=70"),
        with_protocol(b, "budget.seconds=9", "budget.images_per_second=80"),
    ]
    assert varied_fields(units) == []
    assert count_pairs(units) == {"digits": 1}
    assert varied_fields([units[0], with_protocol(b, "budget.seconds=9")]) == ["budget"]


def test_a_baseline_with_more_images_than_the_models_splits_the_runs_as_well(
    tmp_path: Path,
) -> None:
    units = [make_unit(tmp_path, name, seeded=name == "a") for name in ("a", "real", "real")]
    for k, words in enumerate(
        (("train_images=null", "budget.seconds=9"), (), ("train_images=250",))
    ):
        planned = replace(
            units[k].planned, overrides=tuple(w.replace("tr", "dataset.tr") for w in words)
        )
        units[k] = replace(units[k], planned=planned)
    assert varied_fields(units) == ["train_images"]  # and not the budget, which baselines lack
    assert varied_fields(units[:2]) == []


def test_time_is_shared_by_runs_that_ran_at_once(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 6.0}, at_once=2)
    simulation.write("a", 0, LOOK)
    simulation.write("b", 0, LOOK)
    project = simulation.look()
    assert project.spent == SECONDS
    assert project.look == 3
    assert project.folders == (
        tmp_path / "runs" / "digits" / "a" / "default",
        tmp_path / "runs" / "digits" / "b" / "default",
    )
    assert project.comparisons[0].dataset == "digits"
    assert [asked.units for asked in project.asked] == [(0, 1)]
