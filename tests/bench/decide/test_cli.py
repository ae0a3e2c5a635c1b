"""`python -m bench.decide` on simulated runs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from simulated_project import SECONDS, Simulation

from bench.decide import cli
from bench.decide.loop import Ran
from bench.decide.processes import Processes, refuse_wrong
from bench.decide.request import Grid
from bench.runs.directory import read_status
from bench.runs.looks import Look, read_look
from bench.runtime.outlook import Planned

FIDS = {"mlp_gan": 5.0, "dcgan_small": 5.2, "ddpm_small": 30.0}


@pytest.fixture
def simulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Simulation:
    """A simulation in place of the processes that train."""
    made = Simulation(tmp_path / "results", FIDS, spread=0.2)

    def survey(self: Processes, grids: Sequence[Grid]) -> list[tuple[Planned, ...]]:
        assert len(grids) == 1
        return [tuple(unit.planned for unit in made.units)]

    def run(self: Processes, planned: Sequence[Planned], look: Look, seconds: float) -> Ran:
        made.blocks += 1
        for job in planned:
            made.made.append((job.model, int(job.seed)))
            made.write(job.model, int(job.seed), look.text)
        return "ended"

    monkeypatch.setattr(Processes, "survey", survey)
    monkeypatch.setattr(Processes, "run", run)
    monkeypatch.chdir(tmp_path)
    return made


def decide(*arguments: str) -> int:
    return cli.main([f"model={','.join(FIDS)}", "dataset=digits", *arguments])


def test_a_dry_run_prints_the_plan_and_stops(
    simulation: Simulation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decide("hours=2", "--dry-run") == 0
    assert simulation.made == []
    shown = capsys.readouterr()
    assert shown.out.startswith("3 questions on digits")
    assert "allows 30 seeds" in shown.out
    assert not (Path("results") / "runs").exists()


def test_it_runs_answers_and_writes_the_pages(
    simulation: Simulation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decide("hours=20", "seeds=12") == 0
    shown = capsys.readouterr()
    assert "Of 3 questions, " in shown.out
    assert "settled:" in shown.out
    page = Path("results") / "comparison" / "digits.md"
    assert str(page.absolute()) in shown.out or str(page) in shown.out
    assert page.exists()
    assert "next: 3 models, seed 0" in shown.err
    looks = {}
    for model, seed in simulation.made:
        status = read_status(
            Path("results") / "runs" / "digits" / model / "default" / f"seed={seed}"
        )
        assert status is not None
        look = read_look(status.sequential)
        assert look is not None
        looks[model, seed] = look.look
    assert {look for (_, seed), look in looks.items() if seed == 0} == {0}
    assert sorted(set(looks.values())) == list(range(simulation.blocks))


def test_after_the_limit_the_same_command_says_that_the_time_is_up(
    simulation: Simulation, capsys: pytest.CaptureFixture[str]
) -> None:
    hours = f"hours={7 * SECONDS / 3600}"
    assert decide(hours) == 0
    capsys.readouterr()
    made = list(simulation.made)
    assert decide(hours) == 0
    shown = capsys.readouterr()
    assert simulation.made == made
    assert "The time is up: of 7 min, 7 min are spent" in shown.out
    assert "python -m bench.decide model=mlp_gan,dcgan_small,ddpm_small" in shown.out
    assert decide("hours=0.3") == 0
    assert len(simulation.made) > len(made)


def test_the_pages_say_what_the_questions_say(
    simulation: Simulation, capsys: pytest.CaptureFixture[str]
) -> None:
    decide("hours=20", "seeds=12")
    shown = capsys.readouterr().out
    page = (Path("results") / "comparison" / "digits.md").read_text(encoding="utf-8")
    line = next(row for row in shown.splitlines() if "is lower: FID " in row)
    estimate = line.partition("FID ")[2].partition(" (")[0].split()[3:]
    assert " ".join(estimate) in page


def test_a_limit_of_the_runs_of_an_earlier_call_is_kept_with_its_margin(
    simulation: Simulation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert decide("hours=0.1", "margin=1.3") == 0
    capsys.readouterr()
    assert decide("hours=0.1", "margin=1.2") == 2
    assert "margin=1.2 is not that of the earlier runs" in capsys.readouterr().err
    assert decide("hours=0.1", "--dry-run") == 0
    assert "by less than a factor of 1.3" in capsys.readouterr().out


def test_a_class_conditional_model_and_another_one_are_no_question(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = [
        replace(unit.planned, class_conditional=unit.planned.model == "mlp_gan")
        for unit in simulation.units[:2]
    ]
    monkeypatch.setattr(Processes, "survey", lambda self, grids: [tuple(plans)])
    assert decide("hours=2") == 2
    assert (
        "it takes two trained models on one data set, both or neither of them class-conditional, "
        "and here is mlp_gan, dcgan_small: name another one"
    ) in capsys.readouterr().err


def test_help_is_one_screen(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: python -m bench.decide")


def test_jobs_that_cannot_run_are_refused_without_their_seed() -> None:
    refuse_wrong([])
    with pytest.raises(ValueError, match=r"^model=a: budget\.images must be at least 1$"):
        refuse_wrong([(["model=a", "seed=999999"], "budget.images must be at least 1")])
