"""Matched budgets on a page: headings, and sentences that replace missing tables."""

import pytest
from synthetic_runs import costs, scores

from bench.compare.cells import Table
from bench.compare.comparison import compare_runs
from bench.compare.read import read_runs
from bench.compare.topics.matched import NO_CURVES, blocks
from bench.runs.directory import Status


def found(path):
    return {heading: parts for heading, *parts in blocks(compare_runs(read_runs([path])))}


@pytest.fixture
def course(make_run):
    for model, nfe in (("gan", 1), ("ddpm", 50)):
        for seed in range(3):
            for k in (1, 2, 3):
                scale = {"train_seconds": 40.0 * k, "images": 600 * k, "train_flops": 1e12 * k}
                row = scores((9.0 + seed + nfe / 50) / k) | costs(nfe, 1.0 * nfe) | scale
                path = make_run(model, seed, {"s": row}, checkpoint=k, checkpoints=3)
    return path.parents[2]


def test_every_table_has_its_heading_and_sentence(course):
    sections = found(course)
    assert list(sections) == [
        "Equal training time",
        "Equal training operations",
        "Equal samples seen",
        "Time to FID",
        "Break-even",
        "Equal sampling cost",
        "Pareto front of FID and sampling",
        "Pareto front of FID and training time",
        "Pareto front of FID and training operations",
    ]
    for heading, (sentence, *more) in sections.items():
        assert isinstance(sentence, str)
        tables = more[1:] if heading.startswith("Equal") and isinstance(more[0], str) else more
        assert tables
        assert all(isinstance(table, Table) for table in tables)
    ahead = sections["Equal training time"][1]
    assert ahead == "The lowest mean FID is that of gan (s) at 60 s and at 120 s."


def test_who_is_ahead_is_said_for_every_budget_of_runs_that_went_on(make_run):
    """Two runs ended within the step after 8 s, and went on to 16 s."""
    for model, fids in (("gan", (9.0, 8.0)), ("ddpm", (20.0, 4.0))):
        for k, fid in enumerate(fids, start=1):
            row = scores(fid) | costs(1, 1.0) | {"train_seconds": 8.0 * k + 0.02}
            path = make_run(model, 0, {"s": row}, checkpoint=k, checkpoints=2)
    _, ahead, table = found(path.parents[2])["Equal training time"]
    assert table.headings[-2:] == ("at 8.02 s ↓", "at 16.0 s ↓")
    assert ahead == (
        "The lowest mean FID is that of gan (s) at 8.02 s, that of ddpm (s) at 16.0 s."
    )


def test_one_evaluation_point_is_told_how_to_get_more(study):
    sections = found(study)
    assert sections["Equal training"] == [NO_CURVES]
    assert "budget.checkpoints" in NO_CURVES
    assert "Time to FID" not in sections
    assert "Equal sampling cost" in sections
    few = sections["Pareto front of FID and sampling"][1]
    assert few == "No share for models with fewer than 3 seeds: mlp_gan."


def test_models_evaluated_once_or_elsewhere_are_named(make_run):
    for model, speed in (("fast", 100), ("slow", 1), ("slower", 0.9)):
        for k in (1, 2):
            scale = {"train_seconds": 10.0 * k, "images": 1000 * speed * k}
            row = scores(9.0 / k) | costs(1, 1.0) | scale
            path = make_run(model, 0, {"s": row}, checkpoint=k, checkpoints=2)
    make_run("once", 0, {"s": scores(9.0) | costs(1, 1.0)})
    sections = found(path.parents[2])
    _, _, once, apart, table = sections["Equal samples seen"]
    assert once == "Left out, because evaluated only once: once."
    assert apart.startswith(
        "Not in the table, because evaluated only before or after these budgets: fast."
    )
    assert [row[0].text for row in table.rows] == ["slow", "slower"]
    assert sections["Time to FID"][1] == sections["Break-even"][1] == once


def test_nothing_trained_or_finished_has_no_section(make_run):
    path = make_run("gan", 0, {}, status=Status("failed", "not finite", 3))
    assert found(path) == {}
    real = make_run("real", 0, {"real": scores(0.1)}, protocol={})
    assert found(real) == {}
