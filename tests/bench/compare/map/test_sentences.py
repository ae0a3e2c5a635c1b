"""What the map says of unequal seeds, budgets and prices."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from map_runs import mapped, power, write_map
from synthetic_runs import PROTOCOL, costs, scores, write_run

from bench.compare.map.again import runs_again
from bench.compare.map.contenders import Contender
from bench.compare.map.crossings import Crossover, crossovers
from bench.compare.map.grid import ANY, Map
from bench.compare.map.sentences import (
    crossover_sentences,
    crossover_words,
    headline,
    sentence,
)
from bench.runs.directory import Status

TWO = {"gan_r1_ema_small": power(10, 0.2), "v_diffusion_small": power(40, 0.2)}
FLOW = {"rectified_flow_small": power(400, 0.2)}
BUDGETS = (60.0, 120.0)


def last(made: Map) -> str:
    """What the last cell of the first row says."""
    (panel,) = made.panels
    column = len(panel.columns) - 1
    return sentence(panel, panel.rows[0], column, ANY, made.cells(ANY)[0, 0, column])


def write_more(folder: Path, protocol: dict[str, str], spent: dict[str, float]) -> None:
    """A run of both models of that size under another protocol."""
    for model in TWO:
        write_run(
            folder,
            model,
            0,
            {"generator": scores(9.0) | costs(1, 0.3) | spent},
            dataset="fashion_mnist_16",
            variant="more",
            protocol=PROTOCOL | {"image_shape": "1x16x16"} | protocol,
            status=Status("finished", step=1),
        )


def test_a_third_family_with_too_few_seeds_is_the_one_that_is_named(tmp_path):
    write_map(tmp_path, TWO, budgets=BUDGETS, sequential="")
    said = last(mapped(write_map(tmp_path, FLOW, seeds=[0], budgets=BUDGETS, sequential="")))
    assert "is not shown to be ahead of the flow; next comes the diffusion model" in said
    assert "With 1 seed of the GAN and the flow nothing can be said of chance" in said


def test_a_lead_is_told_with_the_range_of_its_seeds(tmp_path):
    made = mapped(write_map(tmp_path, TWO, budgets=BUDGETS, noise=0.2))
    lowest, highest = (
        [pick(score.fids.values()) for score in made.cells(ANY)[0, 0, 1].able]
        for pick in (min, max)
    )
    said = last(made)
    assert f"(gan_r1_ema_small, generator; {lowest[0]:.3g} to {highest[0]:.3g} over seeds)" in said
    assert f"; {lowest[1]:.3g} to {highest[1]:.3g} over seeds)" in said
    assert (
        "seeds" not in last(mapped(write_map(tmp_path / "one", TWO, seeds=[0]))).split("factor")[0]
    )


def test_a_third_family_without_common_seeds_is_the_one_that_is_named(tmp_path):
    write_map(tmp_path, TWO, budgets=BUDGETS)
    said = last(mapped(write_map(tmp_path, FLOW, seeds=(7, 8, 9), budgets=BUDGETS)))
    assert "The GAN and the flow have no common seed: train the same seeds of both." in said


def test_equal_families_are_equal_in_the_sentence_on_prices_too(tmp_path):
    laws = {
        "gan_r1_ema_small": lambda seconds: 20.0,
        "drifting_small": lambda seconds: 20.0,
        "rectified_flow_small": lambda seconds: 6.0,
    }
    made = mapped(write_map(tmp_path, laws, seeds=range(12), noise=0.005))
    assert made.cells(10.0)[0, 0, 3].state == "equal"
    found = headline(made)
    assert found is not None
    (said,) = (words for words in found.said if words.startswith("At up to 10 ms per sample"))
    assert "are equal within ±10 %: FID" in said
    assert "leads" not in said


def test_a_lone_family_that_memorised_is_said_to_have(tmp_path):
    memory = {
        f"nearest_trained{name}_domain": value
        for name, value in (("", 0.9), ("_expected", 0.5), ("_error", 0.01))
    }
    laws = {"gan_r1_ema_small": power(10, 0.2)}
    said = last(mapped(write_map(tmp_path, laws, more={"gan_r1_ema_small": memory})))
    assert "stands alone" in said
    assert "90.0% of the samples of the GAN are nearest to an image that it was trained on" in said


def test_crossovers_after_ten_minutes_are_given_in_whole_seconds(tmp_path):
    (panel,) = mapped(write_map(tmp_path, TWO, seeds=[0])).panels
    one, other = (Contender(name, "", "", {}, math.nan, 0) for name in ("GAN", "flow"))
    found = Crossover(one, other, 781.99928, 768.3023, 791.5785, False, 3, 15.0, 1920.0)
    said = crossover_words(found, panel)
    assert said == "the flow overtakes the GAN after 13 min 2 s [12 min 48 s, 13 min 12 s]"


def test_rows_by_the_clock_and_nominal_ones_are_told_apart_in_sentences(tmp_path):
    write_map(tmp_path, TWO, budgets=BUDGETS)
    nominal = {"budget": "seconds=120, clock=nominal", "train_images": "all"}
    write_more(tmp_path, nominal, {"train_seconds": 120.1})
    made = mapped(tmp_path / "runs")
    (panel,) = made.panels
    said = {
        sentence(panel, row, 1, ANY, made.cells(ANY)[0, j, 1]).partition(", the")[0]
        for j, row in enumerate(panel.rows)
    }
    assert len(said) == 2
    assert all(words.startswith("With 2 min of training and all images (runs of") for words in said)


def test_panels_by_different_axes_have_different_titles(tmp_path):
    write_map(tmp_path, TWO, budgets=BUDGETS)
    write_more(tmp_path, {"budget": "images=9000"}, {"images": 9000})
    made = mapped(tmp_path / "runs")
    assert sorted(panel.title for panel in made.panels) == [
        "fashion_mnist, 16×16, by images seen in training",
        "fashion_mnist, 16×16, by time of training",
    ]


def test_only_failed_runs_are_not_said_to_lack_a_budget(tmp_path):
    write_map(tmp_path, TWO, budgets=BUDGETS)
    failed = Status("failed", step=5, reason="a loss was not finite")
    write_run(tmp_path, "dcgan_small", 0, {}, dataset="other", status=failed)
    made = mapped(tmp_path / "runs")
    assert made.skipped == ("other: not on the map, no model of a family has a result.",)


def test_a_fid_of_zero_is_not_said_to_be_missing(tmp_path):
    laws = TWO | {"rectified_flow_small": lambda seconds: 0.0}
    said = last(mapped(write_map(tmp_path, laws, budgets=BUDGETS)))
    assert "Without a result here: flow (its FID is not above 0)." in said


@pytest.mark.parametrize("has_it", [False, True])
def test_one_more_seed_is_one_that_no_run_has(tmp_path, has_it):
    write_map(tmp_path, TWO, budgets=BUDGETS, seeds=(0, 1, 100) if has_it else (0, 1, 2))
    commands = [again.command for again in runs_again(mapped(tmp_path / "runs"))]
    assert len(commands) == 2
    assert all(f"seed={100 + has_it}" in command for command in commands)


def test_a_family_without_the_largest_budget_is_made_again_at_its_own(tmp_path):
    write_map(tmp_path, TWO, budgets=BUDGETS)
    made = mapped(tmp_path / "runs")
    cells = dict(made.cells(ANY))
    cells[0, 0, 1] = replace(cells[0, 0, 1], scores=cells[0, 0, 1].scores[:1])
    made._cells[ANY] = cells
    places = {again.score.contender.family: again.place for again in runs_again(made)}
    assert places["GAN"].endswith("2 min")
    assert places["diffusion model"].endswith("1 min")


def test_families_that_stay_ahead_share_a_sentence(tmp_path):
    laws = TWO | {"rectified_flow_small": power(80, 0.2), "drifting_small": power(20, 2.0)}
    made = mapped(write_map(tmp_path, laws, noise=0.01))
    (panel,) = made.panels
    (row,) = panel.rows
    overtakes, throughout = (
        [words for words in said if words.startswith("ahead") == whole]
        for said in [crossover_sentences(crossovers(made, panel, row), panel)]
        for whole in (False, True)
    )
    assert [words.partition(" after")[0] for words in overtakes] == [
        "the drifting model overtakes the GAN",
        "the drifting model overtakes the diffusion model",
        "the drifting model overtakes the flow",
    ]
    assert throughout == [
        "ahead at every budget compared: the GAN of the diffusion model and the flow; the "
        "diffusion model of the flow"
    ]
