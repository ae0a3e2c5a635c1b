"""What stands for a family: its flagship whatever became of it, or the best on earlier seeds."""

import math

import map_runs
import pytest
from map_runs import mapped, power, write_map
from synthetic_runs import write_run

from bench.compare.map.contenders import Point, best_on_earlier_seeds, prices
from bench.compare.map.grid import ANY, Map
from bench.compare.map.sentences import sentence
from bench.runs.directory import Status

GAN = {"dcgan_small": power(10, 0.2)}
OTHERS = {"v_diffusion_small": power(40, 0.2), "rectified_flow_small": power(50, 0.2)}


@pytest.fixture(autouse=True)
def samplers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samplers of three more models."""
    monkeypatch.setitem(map_runs.SAMPLERS, "meanflow_small", {"meanflow-4": (4, 9.0, 1.0)})
    monkeypatch.setitem(map_runs.SAMPLERS, "wgan_gp_small", {"generator": (1, 0.3, 1.0)})
    monkeypatch.setitem(map_runs.SAMPLERS, "edm_small", {"heun-2": (3, 5.0, 1.0)})


def last(made: Map, price: float = ANY) -> str:
    """What the cell of the largest budget says."""
    (panel,) = made.panels
    column = len(panel.columns) - 1
    return sentence(panel, panel.rows[0], column, price, made.cells(price)[0, 0, column])


def test_one_of_several_models_is_chosen_by_two_seeds_or_not_at_all(tmp_path):
    runs = write_map(tmp_path, GAN | {"wgan_gp_small": power(12, 0.2)} | OTHERS, seeds=[0])
    said = last(mapped(runs))
    assert "GAN (to choose one of 2 models by earlier seeds takes two seeds)" in said


def test_a_model_without_earlier_seeds_costs_its_family_nothing(tmp_path):
    write_map(tmp_path, GAN | OTHERS)
    runs = write_map(tmp_path, {"wgan_gp_small": power(5, 0.2)}, seeds=[4])
    cell = mapped(runs).cells(ANY)[0, 0, 3]
    assert cell.leader is not None
    assert cell.leader.contender.family == "GAN"
    assert list(cell.leader.fids) == ["1", "2", "3", "4"]
    assert cell.leader.fid == pytest.approx(10 * 2**-0.2, rel=0.1)


def test_a_model_that_copies_is_not_chosen_for_its_low_fid(tmp_path):
    copies = {"wgan_gp_small": {"warning": "70% near-duplicates"}}
    laws = GAN | {"wgan_gp_small": power(5, 0.2)} | OTHERS
    cell = mapped(write_map(tmp_path, laws, more=copies)).cells(ANY)[0, 0, 3]
    assert cell.leader is not None
    assert cell.leader.contender.family == "GAN"
    assert cell.leader.fid == pytest.approx(10 * 2**-0.2, rel=0.1)


def test_a_flagship_that_always_fails_is_replaced_by_nobody(tmp_path):
    """Or the family would be represented by whichever of its models survived."""
    runs = write_map(tmp_path, GAN | OTHERS)
    for seed in range(5):
        failed = Status("failed", step=5, reason="a loss was not finite")
        write_run(
            tmp_path,
            "gan_r1_ema_small",
            seed,
            {},
            dataset="fashion_mnist_16",
            variant="all",
            status=failed,
        )
    said = last(mapped(runs))
    assert "the diffusion model is ahead of the flow" in said
    assert "Without a result here: GAN (all 5 runs of gan_r1_ema_small failed)." in said


def test_a_price_changes_the_sampler_and_not_the_model(tmp_path, monkeypatch):
    monkeypatch.setitem(map_runs.SAMPLERS, "v_diffusion_small", {"dpmpp-10": (10, 40.0, 1.0)})
    laws = {"gan_r1_ema_small": power(40, 0.2), "edm_small": power(12, 0.2)} | OTHERS
    made = mapped(write_map(tmp_path, laws))
    assert "edm_small" not in last(made, 10.0)
    assert "diffusion model (too expensive)" in last(made, 10.0)
    (panel,) = made.panels
    assert prices(panel.rows[0].comparison, "flagships") == [0.3, 30.0, 40.0]


def test_a_data_set_where_no_model_can_be_chosen_is_named_beside_others(tmp_path):
    write_map(tmp_path, {"gan_r1_ema_small": power(10, 0.2)} | OTHERS)
    siblings = GAN | {"wgan_gp_small": power(12, 0.2)}
    runs = write_map(tmp_path, siblings, dataset="other", seeds=[0])
    made = mapped(runs)
    assert [panel.dataset for panel in made.panels] == ["fashion_mnist_16"]
    assert made.skipped == ("other: not on the map, no model of a family has a result.",)


def test_failed_runs_are_counted_where_their_model_was_trained(tmp_path):
    """A run that failed before its first point has no rows that say on how many images it was."""
    write_map(tmp_path, {"gan_r1_ema_small": power(10, 0.2)} | OTHERS)
    more = {"gan_r1_ema_small": power(10, 0.2), "meanflow_small": power(20, 0.2)}
    runs = write_map(tmp_path, more, images="250")
    failed = Status("failed", step=5, reason="a loss was not finite")
    write_run(
        tmp_path, "meanflow_small", 5, {}, dataset="fashion_mnist_16", variant="250", status=failed
    )
    made = mapped(runs)
    (panel,) = made.panels
    entered = [{c.family: c.failed for c in made.contenders(panel, row, ANY)} for row in panel.rows]
    assert entered[0]["few-step model"] == 1
    assert not any("few-step model" in name for name in entered[1])
    assert "few-step" not in sentence(panel, panel.rows[1], 3, ANY, made.cells(ANY)[0, 1, 3])


def test_the_best_is_chosen_by_the_mean_of_the_seeds_before():
    def along(fids: list[float]) -> dict[str, list[tuple[float, Point]]]:
        return {str(k): [(60.0, Point(fid, False, False))] for k, fid in enumerate(fids)}

    found = best_on_earlier_seeds([along([5.0, 9.0, 9.0, 1.0]), along([6.0, 4.0, 2.0, 7.0])])
    assert {seed: points[0][1].fid for seed, points in found.items()} == {
        "1": 9.0,  # 5 against 6
        "2": 2.0,  # √45 against √24
        "3": 7.0,  # ∛405 against ∛48
    }
    assert math.isfinite(found["3"][0][0])
