"""scripts/map_sensitivity.py: what the settled cells of a map depend on."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from map_runs import mapped, power, write_map

from bench.compare.map.grid import ANY
from bench.compare.map.verdicts import settle

sys.path.insert(0, str(Path(__file__).parents[4] / "scripts"))
from map_sensitivity import benjamini_yekutieli, by_evidence, main

LAWS = {"gan_r1_ema_small": power(4, 0.2), "v_diffusion_small": power(6, 0.2)}


def test_by_evidence_is_what_the_map_of_sequential_runs_has(tmp_path):
    made = mapped(write_map(tmp_path, LAWS, seeds=range(8)))
    cells = dict(made.cells(ANY))
    assert {cell.state for cell in cells.values()} == {"settled"}
    assert by_evidence(made, ANY) == cells


def test_the_former_correction_settles_less(tmp_path):
    """Of three p values the last is the largest: the former method multiplies it by 11 / 6."""
    made = mapped(write_map(tmp_path, LAWS, sequential="", budgets=(15, 30, 60)))
    p = [1e-4, 1e-4, 0.028]
    opened = [
        replace(c, p=x, state="open") for c, x in zip(made.cells(ANY).values(), p, strict=True)
    ]
    cells = dict(zip(made.cells(ANY), settle(opened), strict=True))
    former = list(benjamini_yekutieli(cells).values())
    assert [cell.adjusted for cell in former] == pytest.approx([0.000275, 0.000275, 0.028 * 11 / 6])
    assert [cell.state for cell in former] == ["settled", "settled", "open"]
    assert [cell.state for cell in cells.values()] == ["settled"] * 3


def test_a_seed_is_left_out(tmp_path, monkeypatch, capsys):
    runs = write_map(tmp_path, LAWS, seeds=range(3), sequential="")
    words = ["x", str(runs), "--without", "fashion_mnist_16", "0"]
    monkeypatch.setattr(sys, "argv", words)
    main()
    first, *others = capsys.readouterr().out.splitlines()
    settled = int(first.removesuffix(" of 4").rsplit(" ")[-1])
    assert settled > 0
    without = others.index("without seed 0 of fashion_mnist_16: fashion_mnist, 16×16: 0 of 4")
    opened = others[without + 1 : without + 1 + settled]  # two seeds settle nothing
    assert all(line.endswith(", then nan") for line in opened)
