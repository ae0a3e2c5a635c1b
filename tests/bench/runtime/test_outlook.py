"""What is to come: labels, sums, the text, and what is left as runs end."""

import pytest

from bench.runtime.jobs import Outcome
from bench.runtime.outlook import ENDED, HALF_DONE, REPEATED, WRONG, Outlook, Planned, labels, read
from bench.runtime.progress import Forecast


def planned(model: str, seed: int, **more) -> Planned:
    overrides = (f"model={model}", f"seed={seed}", "budget.seconds=60")
    given = {"forecast": Forecast(60, 10, 20, 2), "exact": True} | more
    return Planned(overrides, f"runs/{model}/{seed}", "digits", model, str(seed), **given)


SWEEP = Outlook((planned("gan", 0), planned("gan", 1), planned("ddpm", 0), planned("ddpm", 1)))


def test_a_label_is_the_settings_that_differ() -> None:
    assert labels(SWEEP.runs) == ["gan seed=0", "gan seed=1", "ddpm seed=0", "ddpm seed=1"]
    assert labels(SWEEP.runs, seeds=False) == ["gan", "gan", "ddpm", "ddpm"]
    assert labels(SWEEP.runs[:1]) == ["gan"]
    rate = "model.training.optimizers.generator.lr"
    for dollar in ("$", "$\\"):  # a sweep of Hydra escapes it
        follows = f"model.training.optimizers.discriminator.lr={dollar}{{{rate}}}"
        runs = [Planned((f"{rate}={v}", follows), model="gan", seed="0") for v in ("5e-5", "8e-4")]
        assert labels(runs) == ["gan generator.lr=5e-5", "gan generator.lr=8e-4"]
    schedule = "+model.training.lr_schedule._target_=bench.training.recipe.cosine"
    runs = [Planned((schedule,), model="gan"), Planned((), model="gan")]
    assert labels(runs) == ["gan training.lr_schedule=cosine", "gan"]
    on_two = [Planned((), dataset=name, model="gan") for name in ("digits", "mnist")]
    assert labels(on_two) == ["digits gan", "mnist gan"]
    assert labels([Planned(("model=gpt", "seed=3"))]) == ["gpt"]  # nothing is known of it


def test_the_sum_is_over_what_is_left_to_do() -> None:
    assert SWEEP.seconds() == 4 * (60 + 30)
    assert Outlook(SWEEP.runs, at_once=2).seconds() == 2 * 90
    assert Outlook(SWEEP.runs[:1], at_once=2).seconds() == 90  # one run is not shared
    half = planned("gan", 2, state=HALF_DONE, share=0.75, evaluated=1)
    assert Outlook((half,)).seconds() == 15 + 20
    for state in (ENDED, REPEATED, WRONG):
        assert Outlook((half, planned("gan", 3, state=state))).seconds() == 35
    once = [planned("gan", k, once=100.0, shared="features of digits") for k in range(3)]
    assert Outlook(tuple(once)).seconds() == 3 * 90 + 100  # once, for all
    assert Outlook((half, planned("gan", 4, forecast=Forecast()))).seconds() is None


def test_the_text_is_a_line_and_a_table() -> None:
    runs = (
        planned("gan", 0, state=ENDED),
        planned("gan", 1, state=HALF_DONE, share=0.5, once=40.0, shared="features of digits"),
        planned("gan", 2, once=40.0, shared="features of digits"),
        planned("ddpm", 0, exact=False, forecast=Forecast(3600.0, 10, 20, 2)),
        planned("real", 0, forecast=Forecast(0.0, 0.2, 0.4, 1)),
        planned("real", 1, state=REPEATED),
        planned("wrong", 0, state=WRONG),
    )
    assert Outlook(runs, at_once=2).text() == (
        "7 runs, 1 ended already, 1 half done, 1 that would repeat another one, "
        "1 that cannot start, 2 at a time: about 61 min in all\n"
        "  runs  training each  evaluation each\n"
        "     2  60 s           about 30 s       gan\n"
        "     1  about 60 min   about 30 s       ddpm\n"
        "     1  none           under 1 s        real\n"
        "  about 40 s once: features of digits"
    )
    assert Outlook(runs[:1]).text() == "1 run, 1 ended already"
    untimed = (planned("gan", 0, forecast=Forecast()),)
    assert Outlook(untimed).text().startswith("1 run: not timed here\n")


def test_what_is_left_follows_the_runs_that_have_ended() -> None:
    mine = SWEEP.runs[1].overrides
    assert SWEEP.left(mine, 50.0, []) == 50 + 3 * 90
    done = [Outcome(overrides=SWEEP.runs[0].overrides, rest=60.0)]  # twice what was estimated
    assert SWEEP.left(mine, 50.0, done) == 50 + 2 * (60 + 60)
    assert SWEEP.left(mine, None, done) is None
    together = Outlook(SWEEP.runs, at_once=2)
    assert together.left(mine, 50.0, done) == 25 + 120
    assert together.left(mine, 500.0, done) == 500


def test_the_processes_of_the_jobs_read_what_was_written(tmp_path) -> None:
    file = tmp_path / "below" / "report.plan"
    assert read(file) is None
    SWEEP.write(file)
    assert read(file) == SWEEP
    assert SWEEP.place(SWEEP.runs[2].overrides) == (3, 4)
    assert SWEEP.place(("seed=7",)) is None


@pytest.mark.parametrize("at_once", [1, 4])
def test_nothing_to_do_takes_no_time(at_once: int) -> None:
    assert Outlook((planned("gan", 0, state=ENDED),), at_once).seconds() == 0
