"""Pareto fronts against brute force, and bootstrap shares of their entries."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from synthetic_runs import costs, scores

from bench.compare import cli
from bench.compare.comparison import compare_runs
from bench.compare.read import read_runs
from bench.compare.topics import pareto
from bench.compare.topics.pareto import (
    Candidate,
    front,
    front_table,
    judged,
    rounded,
    sampling_front,
    training_front,
)

few = st.sampled_from([0.0, 1.0, 2.0, 3.0, float("nan"), float("inf")])


def brute_force(cost, loss) -> list[bool]:
    """By the definition, pair by pair."""
    points = list(zip(cost, loss, strict=True))
    finite = [bool(np.isfinite(point).all()) for point in points]

    def dominated(a) -> bool:
        return any(
            f and b[0] <= a[0] and b[1] <= a[1] and b != a
            for b, f in zip(points, finite, strict=True)
        )

    return [f and not dominated(a) for a, f in zip(points, finite, strict=True)]


def test_a_front_worked_by_hand():
    cost = np.array([1.0, 2.0, 2.0, 3.0, 4.0, 1.0])
    loss = np.array([9.0, 5.0, 6.0, 5.0, 1.0, 9.0])
    assert front(cost, loss).tolist() == [True, True, False, False, True, True]


@given(st.lists(st.tuples(few, few), min_size=1, max_size=12))
def test_the_front_is_that_of_brute_force(points):
    cost, loss = np.array(points).T
    assert front(cost, loss).tolist() == brute_force(cost, loss)


@given(arrays.arrays(float, (2, 3, 5), elements=few))
def test_every_row_is_a_front_of_its_own(points):
    rows = [front(cost, loss) for cost, loss in zip(*points, strict=True)]
    assert (front(*points) == np.stack(rows)).all()


def test_costs_are_compared_to_two_digits():
    found = rounded(np.array([40.006, 39.6, 0.0123, 0.01249, 99.6, 0.0, np.nan]))
    assert found[:6].tolist() == pytest.approx([40, 40, 0.012, 0.012, 100, 0])
    assert found[0] == found[1]
    assert found[2] == found[3]


def candidate(entry, costs, fids, model) -> Candidate:
    return Candidate(replace(entry, model=model), 1, 1, np.array(costs), np.array(fids))


@pytest.fixture(scope="module")
def entry(study):
    return compare_runs(read_runs([study])).entries[0]


def test_the_share_says_how_sure_a_place_is(entry):
    sure = candidate(entry, [1.0, 1.0, 1.0], [5.0, 5.1, 5.2], "sure")
    close = candidate(entry, [1.0, 1.0, 1.0], [5.07, 5.13, 5.31], "close")
    beaten = candidate(entry, [2.0, 2.0, 2.0], [9.0, 9.1, 9.2], "beaten")
    found = judged([sure, close, beaten])
    assert [c.on_front for c in found] == [True, False, False]
    means = ([np.mean(c) for c in product(of.fids, repeat=3)] for of in (sure, close))
    exact = np.mean([a < b for a, b in product(*means)])  # over all 27 × 27 pairs of samples
    assert 0.5 < exact < 1
    assert found[0].share == pytest.approx(exact, abs=0.05)  # three standard errors of 1000
    assert found[0].share + found[1].share == pytest.approx(1)
    assert found[2].share == 0


def test_samplers_of_one_model_are_resampled_together(entry):
    """The better sampler is better in every seed: no resample turns that round."""
    fids = np.array([1.0, 50.0, 100.0])
    better, worse = (candidate(entry, [1.0] * 3, fids + add, "ddpm") for add in (0.0, 0.1))
    assert [c.share for c in judged([better, worse])] == [1.0, 0.0]


def test_few_seeds_have_no_share(entry):
    (found,) = judged([candidate(entry, [1.0, 1.0], [5.0, 6.0], "gan")])
    assert found.on_front
    assert np.isnan(found.share)


seeds = arrays.arrays(float, 3, elements=st.floats(0.5, 2))


@given(st.lists(st.tuples(seeds, seeds), min_size=1, max_size=6))
def test_leaving_out_what_is_always_beaten_changes_no_share(entry, points):
    found = [candidate(entry, c, f, str(k)) for k, (c, f) in enumerate(points)]
    able = pareto._able(found)
    weights = np.random.default_rng(1).multinomial(3, [1 / 3] * 3, size=20) / 3
    cost, fid = (np.array([w[k] for w in points]) @ weights.T for k in (0, 1))
    on = front(rounded(cost.T), fid.T)  # the same seeds for all: one of the possible resamples
    assert not on[:, ~able].any()
    assert able[front(rounded(cost.mean(1)), fid.mean(1))].all()


def test_fronts_of_a_study(study):
    comparison = compare_runs(read_runs([study]))
    found = sampling_front(comparison, "latency_ms")
    on = {(c.entry.model, c.entry.sampler) for c in found if c.on_front}
    assert on == {
        ("mlp_gan", "generator"),
        ("dcgan_small", "generator"),
        ("ddpm_small", "ddim-10"),
        ("ddpm_small", "ddim-50"),
    }
    table = front_table(comparison, found, "ms per sample ↓")
    assert table is not None
    assert [row[0].text for row in table.rows][:2] == ["mlp_gan", "dcgan_small"]
    assert [row[-1].text for row in table.rows] == ["–", "100%", "100%", "100%"]


def test_equal_seconds_are_one_cost_and_every_point_may_be_on_the_front(make_run):
    for model, end, shift in (("gan", 40.01, 0.0), ("ddpm", 39.99, 1.0)):
        for seed in range(3):
            for k in (1, 2):
                row = scores(6.0 / k + shift) | costs(1, 1.0) | {"train_seconds": end * k / 2}
                path = make_run(model, seed, {"s": row}, checkpoint=k, checkpoints=2)
    comparison = compare_runs(read_runs([path.parents[2]]))
    found = training_front(comparison, "train_seconds")
    assert {(c.entry.model, c.point) for c in found if c.on_front} == {("gan", 1), ("gan", 2)}
    table = front_table(comparison, found, "training s ↓")
    assert table is not None
    assert table.headings[:3] == ("model", "sampler", "evaluation point")
    assert [row[2].text for row in table.rows] == ["1 of 2", "2 of 2"]
    assert [c.share for c in found if c.entry.model == "ddpm"] == [0, 0]


def test_every_front_is_worked_out_once_for_all_pages(study, tmp_path, monkeypatch):
    """Tables, figures and the answer share the fronts: two of sampling, two of training."""
    found = []
    judged = pareto.judged
    monkeypatch.setattr(pareto, "judged", lambda candidates: found.append(1) or judged(candidates))
    assert cli.main([str(study), "--out", str(tmp_path / "out")]) == 0
    assert len(found) == 4
