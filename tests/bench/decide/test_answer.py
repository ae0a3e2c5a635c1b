"""The plan, the line after every look, and the answer."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from simulated_project import SECONDS, Simulation, make_unit, questions
from synthetic_runs import PROTOCOL, costs, scores, write_run

from bench.decide import answer
from bench.decide.loop import End, Job, Limits, decide
from bench.decide.plan import block_seconds, count_pairs, plan_text, smallest_difference
from bench.decide.project import look_at
from bench.runs.directory import Status
from bench.runs.looks import Look

LIMITS = Limits(100 * 3600.0, 30)


def settle(simulation: Simulation, limits: Limits = LIMITS) -> End:
    return decide(simulation.look, simulation.run_block, limits, lambda *_: None)


def test_more_seeds_settle_smaller_differences_and_more_questions_larger_ones() -> None:
    by_seeds = [smallest_difference(n, 1) for n in (8, 16, 30)]
    assert by_seeds == sorted(by_seeds, reverse=True)
    assert by_seeds[1] == pytest.approx(1.0, abs=0.2)  # one standard deviation by 16 seeds
    assert smallest_difference(16, 15) > by_seeds[1]
    assert smallest_difference(2, 1) == float("inf")


def test_the_plan_says_what_the_limit_allows(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, dict.fromkeys("abc", 5.0))
    units = (*simulation.units, make_unit(tmp_path, "real", seeded=False))
    pairs = count_pairs(units)
    assert pairs == {"digits": 3}
    assert block_seconds(units, 1) == 3 * SECONDS
    assert block_seconds(units, 3) == SECONDS
    limits = Limits(10.5 * 3 * SECONDS, 30)
    text = plan_text(simulation.look(), limits, 1.1, pairs, 0)
    assert text.startswith("3 questions on digits: which of two models has the lower FID?\n")
    assert "allows 10 seeds of every model" in text
    assert re.search(r"with 10 seeds, \d\.\d standard deviations; with 30 seeds, \d\.\d", text)
    assert "by less than a factor of 1.1" in text
    assert "Predicted: at most 30 min for 10 seeds" in text


def test_the_answer_names_the_best_model_and_counts_the_questions(tmp_path: Path) -> None:
    end = settle(Simulation(tmp_path, {"best": 5.0, "far": 20.0, "worst": 60.0}))
    best, count, why = answer.answer(end, LIMITS, 1.1, "again")
    assert re.fullmatch(
        r"On digits, best is the best model: FID \(domain\) [\d.]+, mean of \d+ seeds; every other "
        r"one is shown to be worse\.",
        best,
    )
    assert count.startswith("Of 3 questions, ")
    assert "0 open" in count
    assert why.startswith("Nothing is left to settle after ")
    lines = answer.states(end.project)
    assert lines[0] == "settled:"
    assert any("digits: best or far: best is lower: FID best / far" in line for line in lines)


def test_open_questions_say_what_they_would_cost(tmp_path: Path) -> None:
    limits = Limits(6 * SECONDS, 30)
    end = settle(Simulation(tmp_path, {"a": 5.0, "b": 6.5}, spread=0.3), limits)
    assert end.reason == "time"
    best, _, why = answer.answer(end, limits, 1.1, "python -m bench.decide hours=2")
    assert best.startswith("On digits, ")
    assert "not shown to be worse" in best
    assert why.startswith("The time is up: of 6 min, 6 min are spent")
    assert why.endswith("more: python -m bench.decide hours=2")
    (asked,) = end.project.waiting
    more = asked.question.needed - 3
    assert answer.further_seconds(end.project, asked) == more * 2 * SECONDS
    assert answer.seconds_for_all(end.project) == more * 2 * SECONDS
    title, line = answer.states(end.project)
    assert title == "open:"
    assert f"about {more:.0f} more seeds, " in line
    hours = answer.wanted_hours(end.project, limits)
    assert hours * 3600 >= end.project.spent + more * 2 * SECONDS


def test_failures_are_part_of_the_answer(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 20.0, "c": 5.0}, failing=["c"])
    said = answer.answer(settle(simulation), LIMITS, 1.1, "again")
    assert said[-1] == "c (default) on digits failed in all of 3 seeds and was left out."


def test_verdicts_that_form_a_circle_have_no_best_model(tmp_path: Path, monkeypatch) -> None:
    """Pairs may have different seeds, so that each of three models may lose once."""
    end = settle(Simulation(tmp_path, {"a": 5.0, "b": 20.0}))
    monkeypatch.setattr(answer, "leaders", lambda *_: [])
    assert answer.answer(end, LIMITS, 1.1, "again")[0] == (
        "On digits, no model is recommended: each one is shown to be worse than another one, over "
        "different seeds."
    )


def test_without_any_result_the_answer_says_so(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 20.0}, failing=["a", "b"])
    said = answer.answer(settle(simulation), LIMITS, 1.1, "again")
    assert said[0] == "No two models have a result, so that no question can be answered."
    assert len(said) == 4


def test_questions_that_a_failing_model_keeps_open_are_not_said_to_have_all_seeds(
    tmp_path: Path,
) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 5.2}, spread=0.5)
    project = settle(simulation, Limits(100 * 3600.0, 4)).project
    why = answer.answer(End("failing", project), Limits(100 * 3600.0, 4), 1.1, "again")[-1]
    assert why == (
        "No further run would settle an open question after 8 min of runs: each of them needs "
        "a model whose runs always fail, or has all its 4 seeds."
    )


def test_the_line_after_a_look(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 20.0})
    first = answer.progress_line(simulation.look(), [Job(0, 0), Job(1, 0)], Limits(600.0, 30), 1.1)
    assert first == "next: 2 models, seed 0, about 2 min · 10 min left"
    simulation.run_block(simulation.look(), [Job(0, 0), Job(1, 0)], 600.0)
    then = answer.progress_line(simulation.look(), [Job(1, 1)], Limits(600.0, 30), 1.1)
    assert re.fullmatch(
        r"1 of 1 question open · best so far: a \(FID [\d.]+\) · next: b, seed 1, about 60 s · "
        r"8 min left",
        then,
    )


def written(simulation: Simulation, model: str, fid: float, **more: object) -> None:
    """Add three runs of a model with equal FIDs."""
    row = scores(fid) | costs(1, 0.5) | more
    for seed in range(3):
        status = Status("finished", step=9, sequential=Look().text, seconds=SECONDS)
        write_run(simulation.folder, model, seed, {"sampler": row}, status=status)


def answered(simulation: Simulation) -> list[str]:
    return answer.answer(End("settled", simulation.look()), LIMITS, 1.1, "again")


def test_a_collapsed_model_is_neither_the_best_nor_what_others_are_worse_than(
    tmp_path: Path,
) -> None:
    simulation = Simulation(tmp_path, dict.fromkeys(("collapsed", "fit", "far"), 5.0))
    for seed in range(9):
        for model, fid, sign in (
            ("collapsed", 1.0, {"warning": "2 modes"}),
            ("fit", 8.0, {}),
            ("far", 90.0, {}),
        ):
            rows = {"sampler": scores(fid * (1 + seed / 100)) | costs(1, 0.5) | sign}
            status = Status("finished", step=9, sequential=Look().text, seconds=SECONDS)
            write_run(tmp_path, model, seed, rows, status=status)
    project = simulation.look()
    assert all(asked.question.state == "settled" for asked in project.asked)
    best = answer.answer(End("settled", project), LIMITS, 1.1, "again")[0]
    assert best == (
        "On digits, fit is the best model: FID (domain) 8.32, mean of 9 seeds; every other one "
        "that may be recommended is shown to be worse; collapsed has FID 1.04, but signs of "
        "collapse."
    )
    line = answer.progress_line(project, [Job(1, 9)], LIMITS, 1.1)
    assert "best so far: fit (FID 8.32)" in line


def test_where_every_model_collapsed_none_is_the_best(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 6.0})
    written(simulation, "a", 5.0, warning="2 modes")
    written(simulation, "b", 6.0, precision_domain=0.0, coverage_domain=0.0)
    assert answered(simulation)[0] == (
        "On digits, no model is recommended: a has FID 5, but signs of collapse; b has FID 6, but "
        "no sample near real data."
    )
    line = answer.progress_line(simulation.look(), [Job(1, 9)], LIMITS, 1.1)
    assert "best so far" not in line


def test_class_conditional_models_have_questions_and_an_answer_of_their_own(
    tmp_path: Path,
) -> None:
    names = ("a", "b", "cond_a", "cond_b")
    simulation = Simulation(tmp_path, dict.fromkeys(names, 5.0))
    for name, fid in zip(names, (8.0, 9.0, 1.0, 2.0), strict=True):
        labels = {"class_labels": "data"} if name.startswith("cond") else {}
        written(simulation, name, fid, **labels)
    project = simulation.look()
    assert [asked.question.name for asked in project.asked] == [
        "digits: a or b",
        "digits, class-conditional models: cond_a or cond_b",
    ]
    assert [asked.units for asked in project.asked] == [(0, 1), (2, 3)]
    first, second, *_ = answered(simulation)
    assert first.startswith("On digits, a is ahead: ")
    assert second.startswith("On digits, class-conditional models, cond_a is ahead: ")
    line = answer.progress_line(project, [Job(0, 3)], LIMITS, 1.1)
    assert "best so far on digits: a (FID 8) · best so far on digits, class-cond" in line


def failed(simulation: Simulation, model: str, *seeds: int) -> None:
    """Add failed runs of a model."""
    status = Status("failed", "loss is nan", 5, sequential=Look().text, seconds=SECONDS)
    for seed in seeds:
        write_run(simulation.folder, model, seed, {}, status=status)


def test_no_model_is_the_best_while_nothing_is_known_of_another_one(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 50.0, "c": 5.0, "d": 5.0}, spread=0.02)
    for seed in range(12):
        simulation.write("a", seed, Look().text)
        simulation.write("b", seed, Look().text)
    failed(simulation, "c", 0, 1)
    assert re.fullmatch(
        r"On digits, a is ahead: FID \(domain\) [\d.]+, mean of 12 seeds; every other one with a "
        r"result is shown to be worse; nothing is known yet of c and d, which have no result\.",
        answered(simulation)[0],
    )
    failed(simulation, "c", 2)  # now it is left out, and d has not begun
    assert answered(simulation)[0].endswith(
        "is shown to be worse; nothing is known yet of d, which has no result."
    )
    failed(simulation, "d", 0, 1, 2)
    best = answered(simulation)[0]
    assert best.startswith("On digits, a is the best model: ")
    assert best.endswith("; every other one is shown to be worse.")


def test_the_only_model_with_a_result_is_said_to_be_that(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 6.0})
    written(simulation, "a", 5.0)
    failed(simulation, "b", 0)
    assert answered(simulation)[0] == (
        "On digits, a is the only model with a result: FID (domain) 5, mean of 3 seeds; nothing is "
        "known yet of b, which has no result."
    )


def test_models_of_which_nothing_is_known_are_named_beside_leaders_and_unfit_ones(
    tmp_path: Path,
) -> None:
    known = " nothing is known yet of c, which has no result."
    simulation = Simulation(tmp_path / "two", {"a": 5.0, "b": 6.0, "c": 5.0})
    written(simulation, "a", 5.0)
    written(simulation, "b", 5.2)
    assert answered(simulation)[0] == (
        "On digits, a is ahead: FID (domain) 5, mean of 3 seeds; b is not shown to be worse;"
        f"{known}"
    )
    simulation = Simulation(tmp_path / "unfit", {"a": 5.0, "b": 6.0, "c": 5.0})
    written(simulation, "a", 5.0, warning="2 modes")
    failed(simulation, "b", 0, 1, 2)
    failed(simulation, "c", 0)
    assert answered(simulation)[0] == (
        f"On digits, no model is recommended: a has FID 5, but signs of collapse;{known}"
    )
    simulation = Simulation(tmp_path / "fit", {"a": 5.0, "b": 6.0, "c": 5.0})
    written(simulation, "a", 5.0)
    written(simulation, "b", 6.0, warning="2 modes")
    failed(simulation, "c", 0)
    assert answered(simulation)[0] == (
        "On digits, a is ahead: FID (domain) 5, mean of 3 seeds; no other one with a result may be "
        f"recommended;{known}"
    )


def test_a_model_whose_runs_did_not_get_their_cores_is_not_said_to_be_worse(
    tmp_path: Path,
) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 50.0})
    timed = PROTOCOL | {"budget": "seconds=120"}
    for model, waited in (("a", 0.0), ("b", 60.0)):
        rows = {"g": scores(simulation.fids[model]) | costs(1, 0.1)}
        rows["g"]["train_waiting_seconds"] = waited
        status = Status("finished", sequential=Look().text, seconds=SECONDS)
        write_run(tmp_path, model, 0, rows, status=status, protocol=timed)
    assert answered(simulation)[0].startswith("On digits, a is the only model with a result: ")


def test_a_model_that_has_not_begun_is_named_where_it_belongs(tmp_path: Path) -> None:
    few = "dataset.train_images=100"
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 6.0})
    written(simulation, "a", 5.0)
    written(simulation, "b", 6.0)
    units = list(simulation.units)
    for name, *words in (("c", few), ("d", few), ("e",)):
        unit = make_unit(tmp_path, name)
        overrides = (*unit.planned.overrides, *words)
        units.append(replace(unit, planned=replace(unit.planned, overrides=overrides)))
    project = look_at(units, questions, at_once=1)
    best = answer.answer(End("time", project), LIMITS, 1.1, "again")[0]
    assert best.endswith("; nothing is known yet of e, which has no result.")


def test_one_class_conditional_model_is_named_in_the_answer(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, dict.fromkeys(("a", "b", "cond"), 5.0))
    for name, fid in (("a", 8.0), ("b", 9.0)):
        written(simulation, name, fid)
    written(simulation, "cond", 1.0, class_labels="data")
    said = answered(simulation)
    assert said[0].startswith("On digits, a is ahead: ")
    assert said[1] == "Class-conditional, and so not compared with these: cond (sampler), FID 1."
    assert len(simulation.look().asked) == 1


def test_the_plan_counts_pairs_within_each_kind(tmp_path: Path) -> None:
    units = [make_unit(tmp_path, name) for name in ("a", "b", "c", "cond_a", "cond_b")]
    kinds = [
        replace(unit, planned=replace(unit.planned, class_conditional="cond" in unit.planned.model))
        for unit in units
    ]
    assert count_pairs(units) == {"digits": 10}
    assert count_pairs(kinds) == {"digits": 3, "digits, class-conditional models": 1}
    assert count_pairs(kinds[:4]) == {"digits": 3}
    assert count_pairs(kinds[3:]) == {"digits": 1}
    assert count_pairs(kinds[2:4]) == {}


def test_few_scored_samples_are_part_of_the_answer(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 6.0})
    written(simulation, "a", 5.0, samples=30)
    written(simulation, "b", 6.0, samples=30)
    assert answered(simulation)[1].startswith("FID of 30 samples is far too high and noisy: ")


@pytest.mark.parametrize(("hours", "rounded"), [(0.0123, 0.013), (1.0, 1.0), (12.1, 13.0)])
def test_hours_are_rounded_up(hours: float, rounded: float) -> None:
    assert answer.rounded_up(hours) == pytest.approx(rounded)
