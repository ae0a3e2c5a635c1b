"""Tables at equal sampling cost, worked by hand."""

import pytest
from synthetic_runs import costs, scores

from bench.compare.cells import prefixed
from bench.compare.comparison import compare_runs
from bench.compare.read import read_runs
from bench.compare.topics.sampling_cost import decades, sampling_table


def texts(table):
    return [[f"{c.text}{' *' * c.best}" for c in row] for row in table.rows]


def test_every_model_by_its_best_sampler_within_the_limit(study):
    table = sampling_table(compare_runs(read_runs([study])), "latency_ms")
    assert table is not None
    assert table.headings == ("model", "≤ 0.100 ms ↓", "≤ 1 ms ↓", "≤ 10 ms ↓", "≤ 100 ms ↓")
    gan = "23.87 ± 0.47, generator"
    assert texts(table) == [
        ["ddpm_small", "–", "–", "14.48 ± 0.28, ddim-10 *", "10.07 ± 0.20, ddim-50 *"],
        ["dcgan_small", "–", f"{gan} *", gan, gan],
        ["mlp_gan", *4 * ["41 ± –, generator"]],
    ]


def test_a_sampler_that_costs_more_and_is_worse_is_never_chosen(make_run):
    rows = {
        "ddim-10": scores(5.0) | costs(10, 10.0),
        "ddim-50": scores(6.0) | costs(50, 100.0),
    }
    table = sampling_table(compare_runs(read_runs([make_run("ddpm", 0, rows)])), "latency_ms")
    assert table is not None
    assert table.headings[1:] == ("≤ 10 ms ↓", "≤ 100 ms ↓")
    assert texts(table) == [["ddpm", "5 ± –, ddim-10", "5 ± –, ddim-10"]]


def test_nothing_is_known_of_the_cost(make_run):
    path = make_run("ddpm", 0, {"ddim-10": scores(5.0)})
    assert sampling_table(compare_runs(read_runs([path])), "latency_ms") is None


def test_operations_are_shown_with_the_prefix_that_suits(make_run):
    rows = {"generator": scores(5.0) | costs(1, 2.0)}  # 0.00123456 GFLOP
    run = compare_runs(read_runs([make_run("gan", 0, rows)]))
    table = sampling_table(run, "gflops_per_sample")
    assert table is not None
    assert table.headings == ("model", "≤ 10 MFLOP ↓")


@pytest.mark.parametrize(
    ("costs", "limits"),
    [
        ([], []),
        ([5.0], [10.0]),
        ([10.0], [10.0]),
        ([0.5, 400.0], [1.0, 10.0, 100.0, 1000.0]),
        ([0.004, 4000.0], [0.01, 1.0, 100.0, 10000.0]),
    ],
)
def test_limits_are_a_few_powers_of_ten(costs, limits):
    assert decades(costs) == pytest.approx(limits)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (0.5, "0.500 B"), (999, "999 B"), (1e3, "1 kB"), (2.24e12, "2.24 TB")],
)
def test_units_have_prefixes(value, text):
    assert prefixed(value, "B") == text
