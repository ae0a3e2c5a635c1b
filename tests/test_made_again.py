"""Runs that were made again, beside where the map expects them."""

import pytest
from map_runs import power, write_map

from bench.compare.read import read_runs
from scripts.made_again import expected, rows

LAWS = {"gan_r1_ema_small": power(10, 0.2), "v_diffusion_small": power(12, 0.7)}


def cells(runs, again):
    return [[cell.text for cell in row] for row in rows(expected(runs), read_runs([again]))]


def test_runs_within_and_outside_of_the_range_are_told_apart(tmp_path):
    runs = write_map(tmp_path / "map", LAWS)
    again = write_map(tmp_path / "again", LAWS | {"v_diffusion_small": power(24, 0.7)}, seeds=[100])
    (again / "fashion_mnist_16" / "real").rename(tmp_path / "real")  # has no range
    gan, diffusion = cells(runs, again)
    assert gan[:3] == [
        "fashion_mnist, 16×16, all images, 2 min",
        "gan_r1_ema_small, generator",
        "5",
    ]
    assert (gan[-1], diffusion[-1]) == ("yes", "no")
    low, high = map(float, diffusion[3].split(" to "))
    assert low < 12 / 2**0.7 < high < float(diffusion[4])


def test_one_seed_expects_nothing(tmp_path):
    laws = {"gan_r1_ema_small": LAWS["gan_r1_ema_small"], "v_diffusion_small": power(9, 0.7)}
    runs = write_map(tmp_path / "map", laws, seeds=[0])
    again = write_map(tmp_path / "again", laws, seeds=[100])
    (again / "fashion_mnist_16" / "real").rename(tmp_path / "real")
    assert {(row[3], row[-1]) for row in cells(runs, again)} == {("–", "unknown")}


def test_a_run_of_another_command_is_refused(tmp_path):
    runs = write_map(tmp_path / "map", LAWS)
    again = write_map(tmp_path / "again", {"dcgan_small": power(9, 0.2)}, seeds=[100])
    with pytest.raises(ValueError, match="is no finished run of a command under the map"):
        cells(runs, again)
