"""The map of the report without a browser: tables, legend, and what sliders look up."""

import itertools
import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from map_runs import SAMPLERS, power, write_map

from bench.compare.comparison import Comparison, compare_runs
from bench.compare.map.grid import ANY, Map, make_map
from bench.compare.map.sentences import headline, sentence
from bench.compare.protocols import split_runs
from bench.compare.read import read_runs
from bench.compare.writers.html.map import Atlas, atlas
from bench.compare.writers.html.map_cells import look
from bench.compare.writers.html.map_lookup import (
    Sentences,
    at_least,
    lookup,
    price_words,
    shared_prices,
    stops,
    thresholds,
    worded,
)
from bench.compare.writers.html.page import document
from bench.compare.writers.html.templates import environment

GAN, DIFFUSION, FLOW = "gan_r1_ema_small", "v_diffusion_small", "rectified_flow_small"
FAR_APART = {GAN: power(3, 0.2), DIFFUSION: power(9, 0.5), FLOW: power(12, 0.5)}
"""The GAN is ahead everywhere, the diffusion model second."""

NOMINAL = "seconds={},clock=nominal"
"""The budget of runs of nominal seconds."""


def compared(folder: Path) -> list[Comparison]:
    runs = read_runs([folder])
    return [compare_runs(group, values) for values, group in split_runs(runs, ["train_images"])]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Map:
    """Rows of 250 and of all images; the run of 250 images end at a minute."""
    folder = tmp_path_factory.mktemp("map")
    write_map(folder, FAR_APART, images="250", budgets=(15.0, 30.0, 60.0))
    found = make_map(compared_with_budgets(write_map(folder, FAR_APART)))
    assert found is not None
    return found


def compared_with_budgets(folder: Path) -> list[Comparison]:
    runs, allowed = read_runs([folder]), ["train_images", "budget"]
    return [compare_runs(group, values) for values, group in split_runs(runs, allowed)]


@pytest.fixture(scope="module")
def shown(made) -> Atlas:
    found = atlas([made], ["python -m bench <cell>"])
    assert found is not None
    return found


def section(shown: Atlas) -> str:
    return str(environment().get_template("map.html.jinja").module.map(shown))  # type: ignore[attr-defined]


def row_of(shown: Atlas, place: int) -> dict:
    return shown.data["groups"][0][0]["rows"][place]


def text_of(shown: Atlas, places: list[int]) -> str:
    return " ".join(shown.data["said"][place] for place in places)


def test_every_cell_has_a_word_and_its_sentence(made, shown):
    (block,) = shown.views[0].blocks
    assert [title for title, _ in block.grids[0]] == ["250 images", "all images"]
    for grid in block.grids:
        for _, row in grid:
            assert len(row) == len(block.columns) == 4
            assert all(square.look.name and square.label for square in row)
    panel, cells = made.panels[0], made.cells(ANY)
    for j, (_, row) in enumerate(block.grids[0]):
        for k, square in enumerate(row):
            said = text_of(shown, [int(place) for place in square.said.split()])
            assert said.startswith(sentence(panel, panel.rows[j], k, ANY, cells[0, j, k]))
    leader = block.grids[0][1][1][0].look
    assert (leader.name, leader.kind) == ("GAN", "settled family-0")
    assert re.fullmatch(r"×\d\.\d\d", leader.lead)


def test_a_cell_behind_the_end_of_its_runs_says_so(shown):
    (block,) = shown.views[0].blocks
    beyond = block.grids[0][0][1][3]
    assert (beyond.look.kind, beyond.look.name) == ("empty", "–")
    assert beyond.label == "runs with 250 images end at 1 min"
    text = text_of(shown, [int(place) for place in beyond.said.split()])
    assert text.endswith("no model has a result. Runs with 250 images end at 1 min.")


def test_a_price_leaves_the_families_that_can_pay_it(shown):
    (block,) = shown.views[0].blocks
    names = {
        price: grid[1][1][3].look for price, grid in zip(shown.prices, block.grids, strict=True)
    }
    assert list(names) == ["any price", "≤ 10 ms", "≤ 1 ms"]
    assert names["any price"].kind == names["≤ 10 ms"].kind == "settled family-0"
    assert (names["≤ 1 ms"].kind, names["≤ 1 ms"].lead) == ("alone family-0", "alone")


@pytest.mark.parametrize(
    ("state", "name", "label"),
    [
        ("settled", "GAN", "GAN ×{lead:.2f}, settled"),
        ("open", "GAN", "GAN ×{lead:.2f}, not settled"),
        ("equal", "GAN = diffusion model", "GAN = diffusion model, practically equal"),
        ("alone", "GAN", "GAN alone"),
    ],
)
def test_states_differ_in_words_too(made, state, name, label):
    cell = replace(made.cells(ANY)[0, 1, 0], state=state)
    found = look(cell)
    assert found.name == name
    assert found.label == label.format(lead=cell.lead)
    assert found.kind == f"{state} family-0"


def test_cells_without_a_leader_are_not_blank(made):
    cell = made.cells(ANY)[0, 1, 0]
    ruined = tuple(replace(score, fault="collapsed") for score in cell.scores)
    assert look(replace(cell, scores=ruined, state="nobody")).name == "nobody yet"


def test_sentences_at_each_price_are_those_of_python(made, shown):
    row = row_of(shown, 1)
    panel = made.panels[0]
    assert row["prices"] == [0.3, 8.0, 30.0, 40.0]
    for column in row["columns"]:
        for price, said in zip([*row["prices"], ANY], column["said"], strict=True):
            cell = made.cells(price)[0, 1, column["place"]]
            expected = sentence(panel, panel.rows[1], column["place"], price, cell)
            assert text_of(shown, said) == expected


def test_only_measured_cells_can_be_the_nearest(shown):
    assert [column["title"] for column in row_of(shown, 0)["columns"]] == ["15 s", "30 s", "1 min"]
    assert row_of(shown, 0)["measured"] == "training time was 15 s to 1 min with 250 images"
    assert len(row_of(shown, 1)["columns"]) == 4


def test_stops_reach_beyond_what_was_measured(shown):
    (panel,) = shown.data["groups"][0]
    budgets = [value for value, _ in panel["budgets"]]
    measured = {column["budget"] for row in panel["rows"] for column in row["columns"]}
    assert measured <= set(budgets)
    assert budgets[0] == min(measured) / 2
    assert budgets[-1] == pytest.approx(2 * max(measured), rel=0.1)
    assert budgets == sorted(budgets)
    counts = [value for value, _ in panel["images"]]
    assert counts[0] == 120  # half of 250, to two digits
    assert {250, 1437} <= set(counts)  # that of the whole training set is in reference_size
    assert counts[-1] == pytest.approx(2 * 1437, rel=0.1)
    prices = [value for value, _ in panel["prices"]]
    assert (prices[0], prices[-1]) == (0.15, None)
    assert {0.3, 8.0, 30.0, 40.0} <= set(prices)


def test_without_the_number_of_all_images_the_last_stop_is_all(tmp_path):
    unknown = {"reference_size": ""}
    more = dict.fromkeys(FAR_APART, unknown)
    for images in ("250", "all"):
        write_map(tmp_path, FAR_APART, images=images, more=more)
    found = make_map(compared(tmp_path / "runs"))
    assert found is not None
    shown = atlas([found], [])
    assert shown is not None
    (panel,) = shown.data["groups"][0]
    assert panel["images"][-1] == (None, "all")
    assert (panel["smallest"], panel["largest"]) == (250, None)
    assert row_of(shown, 1)["images"] is None


@pytest.mark.parametrize("measured", [[15.0, 30.1, 120.0], [0.3], [7.0, 7.1]])
def test_stops_hold_what_was_measured_in_order(measured):
    found = stops(measured, measured[0] / 2, 2 * measured[-1])
    assert found == sorted(found)
    assert found[0] == measured[0] / 2
    assert found[-1] >= 2 * measured[-1]
    assert measured[-1] in found


@pytest.mark.parametrize("measured", [[0.246, 0.256], [100.0, 105.0, 400.0]])
def test_close_values_are_both_stops(measured):
    assert set(measured) <= set(stops(measured, measured[0] / 2, 2 * measured[-1]))


def test_stops_worded_alike_are_one_unless_both_were_measured():
    found = worded([1.0, 1.04, 1.2, 2.0, 2.01], [1.04, 2.0, 2.01], lambda x: f"{x:.1f}")
    assert found == [(1.04, "1.0"), (1.2, "1.2"), (2.0, "2.0"), (2.01, "2.0")]


@pytest.fixture
def close(tmp_path, monkeypatch) -> Map:
    """Two rows with a GAN and a drifting model that sample about as fast; the cheapest differs."""
    monkeypatch.setitem(SAMPLERS, "drifting_small", {"generator": (1, 0.355, 1.0)})
    laws = {GAN: power(20, 0.2), "drifting_small": power(40, 0.2), DIFFUSION: power(10, 0.2)}
    write_map(tmp_path, laws, images="250", seeds=range(3), more={GAN: {"latency_ms": 0.38}})
    return make_map(compared(write_map(tmp_path, laws, seeds=range(3))))


def test_every_row_has_its_own_thresholds(close):
    expected = [[0.355, 0.38, 8.0, 40.0], [0.3, 0.355, 8.0, 40.0]]
    assert [list(map(pytest.approx, own)) for own in expected] == list(thresholds(close).values())
    (panel,) = lookup(close, Sentences())
    assert [row["prices"] for row in panel["rows"]] == expected


def test_what_the_price_slider_says_is_true_of_every_sampler(close):
    """Between two latencies of samplers a price admits the cheaper one, and is no price of both."""
    (panel,) = lookup(close, Sentences())
    stops_of = [(price, words) for price, words in panel["prices"] if price is not None]
    assert [words for _, words in stops_of] == list(dict.fromkeys(words for _, words in stops_of))
    assert {0.3, 0.36, 0.38} <= {price for price, _ in stops_of}  # up to two digits
    row = close.panels[0].rows[1]
    for price, words in stops_of:
        assert float(words.partition(" ms or less")[0]) == price
        known = [threshold for threshold in panel["rows"][1]["prices"] if threshold <= price]
        assert bool(known) == (price >= 0.3)
        if known:
            at = [close.contenders(close.panels[0], row, each) for each in (known[-1], price)]
            assert at[0] == at[1]


@pytest.mark.parametrize(
    ("price", "words"),
    [(0.246, "0.25 ms"), (0.3, "0.3 ms"), (9.95, "10 ms"), (10.2, "11 ms"), (1234.5, "1,235 ms")],
)
def test_prices_are_rounded_up_to_what_their_words_say(price, words):
    assert price_words(at_least(price)) == words
    assert at_least(at_least(price)) == at_least(price) >= price


def test_few_shared_prices_lie_between_the_thresholds_of_all_rows():
    rows = [[1.0, 2.0, 8.0], [1.1, 2.1], [1.9, 2.05, 9.0]]
    found = shared_prices(rows)
    spans = {span for own in rows for span in itertools.pairwise([*own, ANY])}
    assert set(found) == spans
    assert all(start <= price < end for (start, end), price in found.items())
    assert set(found.values()) == {1.9, 2.1, 9.0}
    assert shared_prices([[]]) == {}  # no latency was measured


def test_parts_of_sentences_are_kept_once(shown):
    said = shown.data["said"]
    assert len(set(said)) == len(said)
    columns = [column for row in (0, 1) for column in row_of(shown, row)["columns"]]
    parts = [places for column in columns for places in column["said"]]
    assert sum(map(len, parts)) > len(parts)
    assert len(said) < sum(map(len, parts))


def test_the_section_stands_between_the_answer_and_the_rest(made):
    text = document([], [], "python", maps=[made], map_commands=["a <command>"])
    assert '<a href="#map">Who is ahead where</a>' in text
    assert "a &lt;command&gt;" in text
    without = document([], [], "python")
    assert 'id="map' not in without
    assert "--family-0" not in without


def test_the_section_explains_itself(shown):
    text = unescape(section(shown))
    assert text.count('class="squares"') == 3
    assert "false discovery rate 5 %" in text
    assert "The diffusion model overtakes" not in text
    assert "Ahead at every budget compared: the GAN of the diffusion model" in text
    assert "python -m bench <cell>" in text
    assert json.loads(re.findall(r'id="map-data">(.*?)</script>', section(shown))[0])
    assert "<pre" not in section(replace(shown, commands=()))


def test_what_is_not_on_the_map_is_listed(tmp_path):
    write_map(tmp_path, {GAN: power(3, 0.2)}, images="250")
    found = make_map(compared(write_map(tmp_path, FAR_APART)))
    assert found is not None
    shown = atlas([found], [])
    assert shown is not None
    (alone,) = shown.views[0].skipped
    assert "only one family has a result (GAN)" in alone
    assert alone in unescape(section(shown))
    assert shown.views[0].blocks[0].grids[0][0][1][0].look.lead == "alone"


def test_no_map_has_no_section():
    assert atlas([], ["python -m bench"]) is None


def test_sliders_start_where_the_headline_is(tmp_path):
    """Of two rows of as many images, the clock's and the nominal one, the headline is on one."""
    write_map(tmp_path, FAR_APART, images="250")
    write_map(tmp_path, FAR_APART)
    write_map(tmp_path, {GAN: power(9, 0.2), DIFFUSION: power(3, 0.5)}, limit=NOMINAL)
    alone = write_map(tmp_path / "alone", {GAN: power(9, 0.2)}, dataset="z_alone")
    made = make_map([*compared_with_budgets(tmp_path / "runs"), *compared_with_budgets(alone)])
    panels = lookup(made, Sentences())
    found = headline(made)
    assert found is not None
    assert [panel["leads"] for panel in panels] == [True, False]  # the last one compares nothing
    place, column = panels[0]["start"]
    assert made.panels[0].rows[place] is found.row
    assert column == 3
    titles = ["250 images", "all images (runs of 2 min)", "all images (runs of 2 min, nominal)"]
    assert [row["title"] for row in panels[0]["rows"]] == titles
    assert [row["trained_on"] for row in panels[0]["rows"]] == ["250 images"] + 2 * ["all images"]
    assert panels[1]["start"] == (0, 3)


def test_runs_of_one_of_several_rows_end_where_it_says(tmp_path):
    write_map(tmp_path, FAR_APART)
    write_map(tmp_path, FAR_APART, budgets=(15.0, 30.0), limit=NOMINAL)
    shown = atlas([make_map(compared_with_budgets(tmp_path / "runs"))], [])
    assert shown is not None
    (block,) = shown.views[0].blocks
    (label,) = {row[3].label for _, row in block.grids[0] if row[3].look.kind == "empty"}
    assert label == "these runs end at 30 s"


def test_panels_are_told_apart_and_budgets_of_all_kinds_agree_in_number(tmp_path):
    for limit in ("seconds={}", "images={}"):
        write_map(tmp_path, FAR_APART, limit=limit)
    panels = lookup(make_map(compared_with_budgets(tmp_path / "runs")), Sentences())
    assert [panel["key"] for panel in panels] == [
        "fashion_mnist_16 1x16x16 images",
        "fashion_mnist_16 1x16x16 train_seconds",
    ]
    assert [panel["rows"][0]["measured"] for panel in panels] == [
        "in training with all images, 15.0k to 120k images were seen",
        "training time was 15 s to 2 min with all images",
    ]
    for panel in panels:
        for name in ("budgets", "images", "prices"):
            said = [words for _, words in panel[name]]
            assert len(set(said)) == len(said)
