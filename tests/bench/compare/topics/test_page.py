"""Sections of a page about seeds: content, and messages for too few seeds."""

import importlib
import inspect
import math
import pkgutil
from types import MappingProxyType

import pytest
from synthetic_runs import costs, scores

from bench.compare import topics
from bench.compare.cells import Table
from bench.compare.comparison import Comparison, compare_runs
from bench.compare.read import read_runs
from bench.compare.stats import bootstrap_interval
from bench.compare.topics.page import Section, blocks, seeds_table
from bench.compare.writers.csv import to_frame
from bench.compare.writers.markdown import page
from bench.runs.directory import Status

FIDS = (10.0, 16.0, 11.0)


@pytest.fixture
def comparison(make_run, tmp_path) -> Comparison:
    for seed, fid in enumerate(FIDS):
        make_run("ddpm", seed, {"ddim-50": scores(fid) | costs(50, 30.0)})
        make_run("dcgan", seed, {"generator": scores(3 * fid + seed) | costs(1, 0.5)})
    return compare_runs(read_runs([tmp_path]))


def sections(comparison: Comparison) -> dict[str, list[Table | str]]:
    return {heading: parts for heading, *parts in blocks(comparison)}


def test_a_page_has_the_three_sections_in_order(comparison):
    text = page("digits", [Section(comparison)], "bench.compare")
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert headings[:4] == [
        "Quality",
        "Over seeds",
        "Differences between models",
        "Training that failed",
    ]
    assert list(sections(comparison)) == headings[1:4]


def test_values_are_kept_by_seed(comparison):
    entry = comparison.entries[0]
    assert entry.values("fid_domain") == dict(zip("012", FIDS, strict=True))
    assert entry.values("latency_ms") == dict.fromkeys("012", 30.0)
    assert entry.values("reverse_kl") == {}  # not measured
    assert entry.mean["fid_domain"] == pytest.approx(sum(FIDS) / 3)


def test_a_seed_that_lacks_a_score_of_the_others_is_counted_nowhere(make_run, tmp_path):
    for seed, fid in enumerate((10.0, math.nan, 14.0, 15.0)):
        make_run("ddpm", seed, {"ddim-50": scores(fid)})
    entry, lacking = compare_runs(read_runs([tmp_path])).entries
    assert (lacking.status, lacking.seeds) == ("failed", ("1",))
    assert "fid_domain of ddim-50 is empty, which other seeds have" in lacking.reason
    assert entry.seeds == ("0", "2", "3")
    assert entry.mean["fid_domain"] == pytest.approx(13.0)
    assert entry.std["fid_domain"] == pytest.approx(math.sqrt(7.0))
    assert math.isnan(entry.mean["reverse_kl"])
    assert entry.summary("fid_domain").n == 3


def test_the_fid_is_summarised_over_seeds(comparison):
    table = seeds_table(comparison)
    assert table is not None
    low, high = bootstrap_interval(FIDS)
    assert [cell.text for cell in table.rows[0]] == [
        "ddpm",
        "ddim-50",
        "3",
        "12.33",
        "11",
        "3.21",
        "10–16",
        f"12.3 [{low:.1f}, {high:.1f}]",
    ]


def test_the_summary_reaches_the_csv(comparison):
    row = to_frame(comparison).iloc[0]
    low, high = bootstrap_interval(FIDS)
    names = ("median", "min", "max", "mean_low", "mean_high")
    values = [row[f"fid_domain_{name}"] for name in names]
    assert values == pytest.approx([11.0, 10.0, 16.0, low, high])


def test_two_seeds_are_said_to_be_too_few_and_get_no_verdict(make_run, tmp_path):
    for seed in range(2):
        make_run("ddpm", seed, {"ddim-50": scores(9.0 + seed)})
        make_run("dcgan", seed, {"generator": scores(90.0 + seed)})
    found = sections(compare_runs(read_runs([tmp_path])))
    assert "No interval and no verdict with fewer than 3 seeds: ddpm, dcgan." in found["Over seeds"]
    (sentence,) = found["Differences between models"]
    assert str(sentence).startswith("No verdict: ")
    row = to_frame(compare_runs(read_runs([tmp_path]))).iloc[0]
    assert math.isnan(row["fid_domain_mean_low"])


def test_runs_that_all_failed_have_one_section(make_run):
    path = make_run("dcgan", 0, {}, status=Status("failed", "out of memory", 3))
    assert list(sections(compare_runs(read_runs([path])))) == ["Training that failed"]


def test_entries_without_fid_are_left_out(make_run, tmp_path):
    make_run("ddpm", 0, {"ddim-50": {"nfe": 50}})
    found = sections(compare_runs(read_runs([tmp_path])))
    assert list(found) == ["Training that failed"]


def test_nobody_can_change_the_value_of_an_analysis(study):
    """All who ask for an analysis are handed the one value."""
    comparison = compare_runs(read_runs([study]))
    arguments = {"extractor": "domain", "cost": "latency_ms", "axis": "train_seconds"}
    arguments |= {"margin": 1.1, "model": "ddpm_small", "variant": "default"}
    arguments |= {"sampler": "ddim-50", "weights": "ema", "standing": ()}
    names = [module.name for module in pkgutil.iter_modules(topics.__path__)]
    modules = [importlib.import_module(f"{topics.__name__}.{name}") for name in names]
    analyses = {
        function
        for module in modules
        for _, function in inspect.getmembers(module, inspect.isfunction)
        if hasattr(function, "__wrapped__")
    }
    assert len(analyses) >= 10
    frozen = (tuple, frozenset, MappingProxyType, str, bool, Comparison)
    for function in analyses:
        _, *asked = inspect.signature(function).parameters
        value = function(comparison, *(arguments[name] for name in asked))
        assert isinstance(value, frozen), function.__name__
