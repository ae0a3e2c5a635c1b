"""The loop of blocks on simulated runs: racing, limits, failures, and going on after a kill."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from simulated_project import SECONDS, Simulation, make_unit, questions
from synthetic_runs import PROTOCOL, write_run

from bench.compare.questions import Question
from bench.decide.answer import seconds_for_all
from bench.decide.loop import End, Job, Limits, choose, decide, estimate, verdicts
from bench.decide.project import Asked, look_at
from bench.decide.units import Tally
from bench.runs.directory import Status
from bench.runtime.progress import Forecast

HOURS = 3600.0


def settle(simulation: Simulation, seconds: float = 100 * HOURS, seeds: int = 30) -> End:
    """Run the loop; the number of blocks is limited, so that an endless loop fails."""

    def say(project: object, block: object) -> None:
        assert simulation.blocks < 500

    return decide(simulation.look, simulation.run_block, Limits(seconds, seeds), say)


def test_worse_models_get_no_more_runs(tmp_path: Path) -> None:
    fids = {"best": 5.0, "near": 7.0, "far": 60.0}
    simulation = Simulation(tmp_path, fids)
    end = settle(simulation)
    assert end.reason == "settled"
    assert simulation.seeds("best") == list(range(len(simulation.seeds("best"))))
    assert len(simulation.seeds("far")) < len(simulation.seeds("best"))
    states = {asked.question.name: asked.question for asked in end.project.asked}
    assert states["digits: best or far"].state == "settled"
    assert len(states) == 3
    assert not end.project.waiting
    assert len(set(simulation.made)) == len(simulation.made)  # no run twice


def test_two_seeds_of_every_model_come_first(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 1.0, "b": 100.0, "c": 1.01})
    settle(simulation, seconds=7 * SECONDS)
    assert sorted(simulation.made[:6]) == [(m, s) for m in "abc" for s in (0, 1)]


def test_the_limit_ends_it_and_the_same_command_says_so_again(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 5.2}, spread=0.3)
    end = settle(simulation, seconds=9 * SECONDS)
    assert end.reason == "time"
    assert simulation.made[8:] == [("a", 4)]  # half a block is all that fits
    assert end.project.spent == 9 * SECONDS
    again = settle(simulation, seconds=9 * SECONDS)
    assert again.reason == "time"
    assert len(simulation.made) == 9
    assert settle(simulation, seconds=12 * SECONDS).reason == "time"
    assert simulation.made[9:] == [("b", 4), ("a", 5), ("b", 5)]  # the other half comes first


def test_what_does_not_fit_together_runs_in_parts_until_nothing_fits(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, dict.fromkeys("abcdefg", 5.0), failing=["g"])
    for model in "abcdefg":
        simulation.write(model, 0, "e-process margin=1.1 look=0")
    limits = Limits(12.5 * SECONDS, 30)  # 5.5 runs for the second seeds of seven models
    assert choose(simulation.look(), limits) == (Job(6, 1),)  # nothing is known of g
    end = settle(simulation, limits.seconds)
    assert end.reason == "time"
    assert end.project.spent == 12 * SECONDS
    assert simulation.made[:2] == [("g", 1), ("g", 2)]
    assert {seed for model, seed in simulation.made[2:]} == {1}


def test_models_without_a_result_run_as_far_as_they_fit_the_lowest_seeds_first(
    tmp_path: Path,
) -> None:
    simulation = Simulation(tmp_path, dict.fromkeys("abcde", 5.0), failing=["b"])
    simulation.write("a", 0, "e-process margin=1.1 look=0")
    simulation.write("b", 0, "e-process margin=1.1 look=0")
    half = Status("running", sequential="e-process margin=1.1 look=0", seconds=SECONDS / 2)
    write_run(tmp_path, "d", 0, {}, status=half)
    project = simulation.look()

    def chosen(runs: float) -> tuple[Job, ...] | str:
        return choose(project, Limits(project.spent + runs * SECONDS, 30))

    b, c, d, e = Job(1, 1), Job(2, 0), Job(3, 0), Job(4, 0)
    assert set(chosen(3.5)) == {b, c, d, e}
    assert chosen(3.4) == (d, c, e)
    assert chosen(2.4) == (d, c)
    assert chosen(0.5) == (d,)
    assert chosen(0.4) == "time"


def test_a_model_that_does_not_fit_leaves_the_time_to_the_others(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 5.2, "c": 5.4}, spread=0.5)
    for model in "ab":
        for seed in range(3):
            simulation.write(model, seed, "e-process margin=1.1 look=0")
    dear = replace(simulation.units[2].planned, forecast=Forecast(9 * SECONDS, None, 10.0, 1))
    project = look_at(
        (*simulation.units[:2], replace(simulation.units[2], planned=dear)), questions, at_once=1
    )
    assert choose(project, Limits(project.spent + 10 * SECONDS, 30)) == (Job(2, 0),)
    assert choose(project, Limits(project.spent + 3 * SECONDS, 30)) == (Job(0, 3), Job(1, 3))
    assert choose(project, Limits(project.spent + SECONDS, 30)) == (Job(0, 3),)


def test_equal_models_are_called_equal(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 5.0}, spread=0.01)
    end = settle(simulation)
    assert end.reason == "settled"
    assert [asked.question.state for asked in end.project.asked] == ["equal"]


def test_every_model_stops_at_the_largest_number_of_seeds(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 5.2}, spread=0.5)
    end = settle(simulation, seeds=4)
    assert end.reason == "seeds"
    assert simulation.seeds("a") == simulation.seeds("b") == [0, 1, 2, 3]


def test_a_model_that_always_fails_is_left_out(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 20.0, "c": 5.0}, failing=["c"])
    end = settle(simulation)
    assert end.reason == "settled"
    assert simulation.seeds("c") == [0, 1, 2]
    assert end.project.tallies[2].always_fails


def test_a_killed_run_of_a_model_that_always_fails_keeps_no_question_open(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 50.0, "c": 5.0}, failing=["c"])
    for seed in range(3):
        simulation.write("c", seed)
    write_run(tmp_path, "c", 3, {}, status=Status("running", step=5))
    end = settle(simulation)
    assert end.reason == "settled"
    assert not end.project.waiting
    assert simulation.seeds("c") == []


def test_models_that_all_fail_end_it(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 9.0}, failing=["a", "b"])
    end = settle(simulation)
    assert end.project.asked == ()
    assert sorted(simulation.made) == [(m, s) for m in "ab" for s in range(3)]


def test_runs_that_cannot_be_made_end_it(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 20.0, "c": 5.0}, absent=["c"])
    end = settle(simulation)
    assert end.stuck == {2}
    assert simulation.seeds("c") == []
    assert end.project.asked[0].question.state == "settled"
    assert end.reason == "stuck"  # nothing is known of c, so that not all is settled
    nothing = Simulation(tmp_path / "other", {"a": 5.0, "b": 9.0}, absent=["a", "b"])
    assert settle(nothing).reason == "stuck"


def test_the_seeds_are_used_up_only_if_every_open_question_has_all_of_them(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 5.2, "c": 5.4}, spread=0.5)
    for model, seeds in {"a": 4, "b": 4, "c": 1}.items():
        for seed in range(seeds):
            simulation.write(model, seed, "e-process margin=1.1 look=0")
    limits, project = Limits(100 * HOURS, 4), simulation.look()
    assert len(project.waiting) == 3
    assert choose(project, limits) == (Job(2, 1),)
    assert choose(project, limits, {2}) == "stuck"
    fails = Tally(failed=frozenset(range(3)))  # a claim may need it, and stays open
    project = replace(project, tallies=(*project.tallies[:2], fails))
    assert choose(project, limits) == "failing"
    of_two = tuple(asked for asked in project.asked if 2 not in asked.units)
    assert choose(replace(project, asked=of_two), limits) == "seeds"


def ask(verdict: str, part: str, units: tuple[int, ...], needed: float = 9.0) -> Asked:
    """An open question of a claim after four seeds; without a part it decides the claim alone."""
    path, name = (1.0,) * 4, f"{verdict} {part} {units}"
    known = ("open", "", path, (), 20.0, needed, ())
    return Asked(Question(name, "", "", *known, verdict=verdict, part=part, alone=not part), units)


def test_of_questions_of_which_one_is_enough_the_cheapest_runs(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, dict.fromkeys("abcdef", 5.0))
    for model in "abcdef":
        for seed in range(4):
            simulation.write(model, seed, "e-process margin=1.1 look=0")
    looked_at = simulation.look()
    dear, cheap = ask("x", "", (0, 1), needed=20.0), ask("x", "", (2,), needed=8.0)
    unknown = ask("x", "", (3,), needed=math.nan)
    hopeless = ask("x", "", (4,), needed=math.inf)
    project = replace(looked_at, asked=(dear, hopeless, cheap))
    limits = Limits(100 * HOURS, 30)
    assert [way.parts for way in verdicts(project, project.waiting)] == [(cheap,)]
    assert choose(project, limits) == (Job(2, 4),)
    assert choose(replace(project, asked=(*project.asked, unknown)), limits) == (Job(3, 4),)
    assert choose(project, limits, {2}) == (Job(0, 4), Job(1, 4))
    assert choose(project, limits, {0, 2}) == (Job(4, 4),)
    needed = seconds_for_all(replace(project, asked=(dear, cheap)))
    assert needed == 4 * SECONDS


def test_a_verdict_costs_what_its_dearest_part_needs(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, dict.fromkeys("abcd", 5.0))
    for model in "abcd":
        for seed in range(4):
            simulation.write(model, seed, "e-process margin=1.1 look=0")
    near = ask("both", "test 1", (0,), needed=5.0)
    hopeless = ask("both", "test 2", (1,), needed=math.inf)
    other = ask("other", "", (2, 3), needed=25.0)
    project = replace(simulation.look(), asked=(near, hopeless, other))
    ways = [way.parts for way in verdicts(project, project.waiting)]
    assert ways == [(near, hopeless), (other,)]
    limits = Limits(100 * HOURS, 30)
    assert choose(project, limits) == (Job(2, 4), Job(3, 4))
    project = replace(project, asked=(near, hopeless))
    assert choose(project, limits) == (Job(0, 4), Job(1, 4))
    against = ask("both", "", (3,), needed=30.0)
    project = replace(project, asked=(near, hopeless, against))
    assert [way.parts for way in verdicts(project, project.waiting)] == [(against,)]
    assert choose(project, limits) == (Job(3, 4),)


def test_a_part_that_cannot_run_leaves_its_verdict_out_of_reach(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, dict.fromkeys("abc", 5.0))
    for model in "abc":
        for seed in range(4):
            simulation.write(model, seed, "e-process margin=1.1 look=0")
    near, far = (ask("both", f"test {k}", (k,), needed=5.0) for k in (0, 1))
    project = replace(simulation.look(), asked=(near, far, ask("other", "", (2,), needed=25.0)))
    limits = Limits(100 * HOURS, 30)
    assert choose(project, limits) == (Job(0, 4), Job(1, 4))
    assert choose(project, limits, {1}) == (Job(2, 4),)
    assert choose(project, limits, {1, 2}) == (Job(0, 4),)


def test_items_of_several_seeds_count_as_these(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, dict.fromkeys("ab", 5.0))
    for model in "ab":
        for seed in range(3):
            simulation.write(model, seed, "e-process margin=1.1 look=0")
    by_set = ask("spread", "", (0,), needed=math.inf)
    one_item = replace(by_set.question, path=(1.0,), seeds_each=3)
    project = replace(simulation.look(), asked=(replace(by_set, question=one_item),))
    near = ask("near", "", (1,), needed=5.0)
    project = replace(project, asked=(*project.asked, near))
    assert choose(project, Limits(100 * HOURS, 30)) == (Job(1, 3),)


@pytest.mark.parametrize("kill_at", [2, 5])
def test_killed_in_a_block_it_goes_on_with_what_is_missing(tmp_path: Path, kill_at: int) -> None:
    fids = {"a": 5.0, "b": 8.0}
    whole = Simulation(tmp_path / "whole", fids)
    end = settle(whole)
    killed = Simulation(tmp_path / "killed", fids, kill_at=kill_at)
    with pytest.raises(KeyboardInterrupt):
        settle(killed)
    assert len(killed.made) == kill_at - 1
    again = settle(killed)
    assert again.reason == end.reason
    assert sorted(killed.made) == sorted(whole.made)
    answers = [[asked.question.answer for asked in e.project.asked] for e in (end, again)]
    assert answers[0] == answers[1]


def test_the_clock_in_the_middle_of_a_block(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 9.0})
    end = decide(simulation.look, lambda *_: "out of time", Limits(HOURS, 30), lambda *_: None)
    assert end.reason == "interrupted"


def test_a_process_that_dies_costs_one_model_at_most(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"bad": 5.0, "a": 5.0, "b": 20.0})

    def run(project, block, seconds):
        if any(project.units[job.unit].planned.model == "bad" for job in block):
            return "died"
        return simulation.run_block(project, block, seconds)

    end = decide(simulation.look, run, Limits(100 * HOURS, 30), lambda *_: None)
    assert end.stuck == {0}
    assert [asked.question.state for asked in end.project.asked] == ["settled"]


def test_a_half_done_run_costs_what_is_left_of_it(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 9.0})
    status = Status("running", step=3, sequential="e-process margin=1.1 look=0", seconds=45.0)
    write_run(tmp_path, "a", 0, {}, status=status)
    project = simulation.look()
    assert estimate(project, [Job(0, 0), Job(1, 0)]) == SECONDS + 15
    assert project.spent == 45
    assert choose(project, Limits(45 + 75, 30)) == (Job(0, 0), Job(1, 0))
    assert choose(project, Limits(45 + 74, 30)) == (Job(0, 0),)
    assert choose(project, Limits(45 + 14, 30)) == "time"


def test_jobs_fill_every_place(tmp_path: Path) -> None:
    fids = {name: 5.0 + 0.1 * k for k, name in enumerate("abcd")}
    simulation = Simulation(tmp_path, fids, spread=0.5)
    settle(simulation, seeds=2)
    one = choose(simulation.look(), Limits(100 * HOURS, 30))
    simulation.at_once = 4
    four = choose(simulation.look(), Limits(100 * HOURS, 30))
    assert len(one) == 2
    assert len(four) == 4


def test_short_runs_fill_the_place_beside_a_long_one(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, dict.fromkeys("abcd", 5.0), at_once=2)
    for model in "abcd":
        for seed in range(2):
            simulation.write(model, seed, "e-process margin=1.1 look=0")
    project = simulation.look()
    long = replace(project.tallies[1], took={0: 4 * SECONDS})
    tallies = (project.tallies[0], long, *project.tallies[2:])
    needed = {"a": 3.0, "b": 3.0, "c": 9.0, "d": 12.0}
    asked = tuple(ask(name, "", (k,), needed=n) for k, (name, n) in enumerate(needed.items()))
    project = replace(project, tallies=tallies, asked=asked)
    found = choose(project, Limits(100 * HOURS, 30))
    assert found == (Job(1, 2), Job(0, 2), Job(2, 2), Job(3, 2))  # the long one first
    none_long = replace(project, tallies=simulation.look().tallies)
    assert choose(none_long, Limits(100 * HOURS, 30)) == (Job(0, 2), Job(1, 2))


def test_runs_of_a_fixed_sweep_count_but_one_block_makes_it_sequential(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 50.0})
    for seed in range(8):
        simulation.write("a", seed)
        simulation.write("b", seed)
    end = settle(simulation)
    assert end.reason == "settled"
    assert sorted(simulation.made) == [("a", 8), ("b", 8)]
    assert end.project.spent == 2 * SECONDS  # the others are not of this limit


def test_seeds_are_above_those_of_other_machines(tmp_path: Path) -> None:
    """A seed is of one machine; at most `limits.seeds` runs of a model are made on all of them."""
    simulation = Simulation(tmp_path, {"a": 5.0, "b": 6.0})
    elsewhere = PROTOCOL | {"device": "cpu: another one"}
    for model, count in (("a", 4), ("b", 3)):
        for seed in range(count):
            simulation.write(model, seed, "e-process margin=1.1 look=0", protocol=elsewhere)
    here = [
        replace(unit, planned=replace(unit.planned, protocol=dict(PROTOCOL)))
        for unit in simulation.units
    ]
    real = make_unit(tmp_path, "real", seeded=False)  # it is not trained: no device
    project = look_at([*here, real], questions, at_once=1, several_machines=True)
    assert project.first_seed == 4
    project = look_at(here, questions, at_once=1, several_machines=True)
    assert choose(project, Limits(100 * HOURS, 30)) == (Job(0, 4), Job(1, 4))
    assert choose(project, Limits(100 * HOURS, 4)) == "seeds"
    assert project.seconds(0) == SECONDS  # forecast: other machines may be slower or quicker
    quicker = replace(project.tallies[0], took={0: 5.0, 4: 7.0})
    assert replace(project, tallies=(quicker, project.tallies[1])).seconds(0) == 7.0
    assert look_at(here, questions, at_once=1).first_seed == 0
    simulation.write("a", 4, "e-process margin=1.1 look=1")
    project = look_at(here, questions, at_once=1, several_machines=True)
    assert len(project.comparisons) == 2
    assert project.first_seed == 4
    for other in ("c", "a"):  # of a model that is not asked, and of a run without rows
        there_too = Status("running", step=3, device=elsewhere["device"], seconds=45.0)
        write_run(tmp_path, other, 7 if other == "c" else 6, {}, status=there_too)
    project = look_at(here, questions, at_once=1, several_machines=True)
    assert project.first_seed == 8
    assert project.tallies[0].half_done == {}  # it is the other machine's
    mine = Status("running", step=3, device=PROTOCOL["device"], seconds=45.0)
    write_run(tmp_path, "a", 9, {}, status=mine)
    project = look_at(here, questions, at_once=1, several_machines=True)
    assert (project.first_seed, project.tallies[0].half_done) == (8, {9: 45.0})
    shutil.rmtree(tmp_path / "runs" / "digits" / "c")
    for seed in (6, 9):
        shutil.rmtree(tmp_path / "runs" / "digits" / "a" / "default" / f"seed={seed}")
    there = [
        replace(unit, planned=replace(unit.planned, protocol=dict(elsewhere)))
        for unit in simulation.units
    ]
    assert look_at(there, questions, at_once=1, several_machines=True).first_seed == 5
