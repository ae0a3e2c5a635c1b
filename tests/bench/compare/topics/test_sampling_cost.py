"""Break-even: total costs are equal at n*, and the cheapest entry is found."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_runs import costs, scores

from bench.compare.comparison import compare_runs
from bench.compare.read import read_runs
from bench.compare.topics.curves import learning_curves
from bench.compare.topics.sampling_cost import Offer, break_even, break_even_table, cheapest

price = st.floats(1e-3, 1e6)


@pytest.fixture(scope="module")
def entry(study):
    return compare_runs(read_runs([study])).entries[0]


def offer(entry, train, per_sample) -> Offer:
    return Offer(entry, train, per_sample)


def test_worked_by_hand(entry):
    diffusion, gan = offer(entry, 100.0, 0.5), offer(entry, 160.0, 0.1)
    assert break_even(diffusion, gan) == break_even(gan, diffusion) == pytest.approx(150.0)
    assert diffusion.total(150) == pytest.approx(175.0)


@pytest.mark.parametrize(("train", "per_sample"), [(99, 0.4), (99, 0.5), (100, 0.4), (100, 0.5)])
def test_there_is_none_where_one_is_never_the_dearer(entry, train, per_sample):
    a, b = offer(entry, 100.0, 0.5), offer(entry, train, per_sample)
    assert break_even(a, b) is None
    assert break_even(b, a) is None


@given(price, price, price, price)
def test_totals_are_equal_at_the_break_even(entry, a, b, c, d):
    one, other = offer(entry, a, b), offer(entry, c, d)
    n = break_even(one, other)
    assert (n is None) == ((a <= c and b <= d) or (a >= c and b >= d))
    if n is not None:
        scale = abs(a - c) + abs(one.total(n))
        assert one.total(n) == pytest.approx(other.total(n), abs=1e-6 * scale)


@given(st.lists(st.tuples(price, price), min_size=1, max_size=6), st.floats(0, 1e6))
def test_the_cheapest_is_the_cheapest_for_every_number_of_samples(entry, prices, n):
    offers = [offer(entry, *p) for p in prices]
    envelope = cheapest(offers)
    starts = [start for start, _ in envelope]
    assert starts == sorted(starts)
    chosen = [o for start, o in envelope if start <= n][-1]
    assert chosen.total(n) == pytest.approx(min(o.total(n) for o in offers), rel=1e-6)


def test_the_envelope_worked_by_hand(entry):
    a, b, c = offer(entry, 10.0, 3.0), offer(entry, 20.0, 2.0), offer(entry, 60.0, 1.0)
    useless = offer(entry, 30.0, 2.0)
    assert cheapest([c, useless, b, a]) == [(0.0, a), (10.0, b), (40.0, c)]
    between = replace(b, train=50.0)  # a and c meet at 25, where it costs 100 and they 85
    assert cheapest([a, between, c]) == [(0.0, a), (25.0, c)]


def write(make_run, model, fids, latency, gflops):
    for seed in range(3):
        for k, fid in enumerate(fids, start=1):
            sizes = {"train_seconds": 100.0 * k, "train_flops": 1e12 * k}
            cost = costs(1, latency) | sizes | {"gflops_per_sample": gflops}
            row = scores(fid) | cost
            path = make_run(model, seed, {"s": row}, checkpoint=k, checkpoints=len(fids))
    return path.parents[2]


def rows(folder, fids):
    comparison = compare_runs(read_runs([folder]))
    table = break_even_table(comparison, learning_curves(comparison), fids)
    return table and [[cell.text for cell in row] for row in table.rows]


def test_a_table_in_seconds_and_in_operations(make_run):
    write(make_run, "ddpm", (8.0, 4.0, 2.0), 100.0, 9.0)  # FID 4 after 200 s, 0.1 s a sample
    folder = write(make_run, "gan", (16.0, 8.0, 4.0), 1.0, 10.0)  # after 300 s, 0.001 s a sample
    assert rows(folder, [4.0]) == [
        ["FID ≤ 4", "time", "ddpm", "s", "up to 1010", "200 s", "100 ms"],
        ["FID ≤ 4", "time", "gan", "s", "from 1010", "300 s", "1 ms"],
        ["FID ≤ 4", "FLOPs", "ddpm", "s", "any number", "2 TFLOP", "9 GFLOP"],
    ]


def test_what_was_reached_before_the_first_point_is_an_upper_bound(make_run):
    folder = write(make_run, "gan", (3.0, 2.0), 1.0, 1.0)
    assert [row[5] for row in rows(folder, [4.0])] == ["≤ 100 s", "≤ 1 TFLOP"]


def test_none_reaches_the_quality(make_run):
    assert rows(write(make_run, "gan", (3.0, 2.0), 1.0, 1.0), [1.0]) is None
