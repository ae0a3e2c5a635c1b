"""Settings that exceed memory or range are refused with the limit; large valid ones are not."""

from pathlib import Path

import pytest

from bench.build import build_options
from bench.config import MAX_CHECKPOINTS, Budget, EvaluatorSettings
from bench.data.sources import load_digits
from bench.evaluation.options import EvaluatorOptions, check_size
from bench.runtime import memory
from bench.runtime.memory import GIB, check_fits, machine_memory


def test_the_memory_of_the_machine_is_that_of_the_system():
    total = machine_memory()
    assert total is not None
    with open("/proc/meminfo") as file:
        kib = int(file.readline().split()[1])
    assert 0 < total <= 1.01 * kib * 1024


def test_a_control_group_may_use_less(monkeypatch):
    total = machine_memory()
    assert total is not None
    monkeypatch.setattr(memory, "_control_groups", lambda: iter([(10 * total, 5), (1048576, 5)]))
    assert machine_memory() == 1048576
    monkeypatch.setattr(memory, "_control_groups", lambda: iter([]))
    assert machine_memory() >= total


def test_what_does_not_fit_says_what_it_would_take_and_what_fits(monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 10 * GIB)
    check_fits("things", 10, GIB, "one of them")
    with pytest.raises(ValueError, match="things=11") as error:
        check_fits("things", 11, GIB, "one of them")
    assert str(error.value) == (
        "things=11 would take at least 11 GiB of memory, 1073741824 bytes for one of them, and "
        "there are 10 GiB: set it to at most 10"
    )
    monkeypatch.setattr(memory, "machine_memory", lambda: None)
    check_fits("things", 10**30, GIB, "one of them")


@pytest.mark.parametrize(
    ("samples", "resamples", "side"),
    [(50_000, 200, 256), (10_000, 10_000, 32), (50_000, 10_000, 64), (100_000, 200, 64)],
)
def test_large_evaluations_are_not_refused(monkeypatch, samples, resamples, side):
    monkeypatch.setattr(memory, "machine_memory", lambda: 16 * GIB)
    EvaluatorSettings(samples, 5000, cost_seconds=60.0, resamples=resamples)
    check_size(samples, resamples, 3 * side * side)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("resamples", 80_000, "evaluator.resamples=80000 would take at least"),
        ("samples", 4_000_000, "evaluator.samples=4000000 would take at least 4 GiB"),
    ],
)
def test_an_evaluation_is_weighed_with_the_size_of_the_data(monkeypatch, name, value, said):
    dataset = load_digits(data_root=Path("data"))  # 700 are held out
    settings = EvaluatorSettings(**{name: value})
    monkeypatch.setattr(memory, "machine_memory", lambda: 16 * GIB)
    assert build_options(settings, dataset) == EvaluatorOptions(**{"samples": 700, name: value})
    monkeypatch.setattr(memory, "machine_memory", lambda: GIB // 2)
    with pytest.raises(ValueError, match=said):
        build_options(settings, dataset)


def test_a_batch_is_weighed_as_far_as_there_are_samples(monkeypatch):
    dataset = load_digits(data_root=Path("data"))
    settings = EvaluatorSettings(10, 10**12)
    assert (
        build_options(settings, dataset).batch_size == 10**12
    )  # never more than there are at once
    monkeypatch.setattr(memory, "machine_memory", lambda: 2**18)
    with pytest.raises(ValueError, match=r"evaluator\.batch_size=1097 would take"):
        build_options(settings, dataset)


def test_large_budgets_are_not_refused():
    Budget(images=200_000_000, checkpoints=1000).check_points(4096)
    Budget(seconds=1e7, checkpoints=MAX_CHECKPOINTS).check_points(64)
    Budget(images=10**15, seconds=366 * 86400, flops=1e27)
    Budget(images=640, checkpoints=10).check_points(64)
    Budget(images=641, checkpoints=11).check_points(64)
    with pytest.raises(ValueError, match="in batches of 64 are 10 steps: set it to at most 10"):
        Budget(images=640, checkpoints=11).check_points(64)
    with pytest.raises(ValueError, match=f"at most {MAX_CHECKPOINTS}"):
        Budget(seconds=10, checkpoints=MAX_CHECKPOINTS + 1)
