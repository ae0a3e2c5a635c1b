"""The page's text, ids and links: from synthetic runs, without a browser."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic_runs import PROTOCOL, costs, scores, write_run

from bench.compare.cells import Cell, Table
from bench.compare.claims.declaration import read_claims
from bench.compare.cli import main
from bench.compare.comparison import Comparison, compare_runs
from bench.compare.protocols import split_runs
from bench.compare.read import read_runs
from bench.compare.topics.page import Notes, Topic
from bench.compare.topics.pictures import Grid
from bench.compare.topics.quality import main_table
from bench.compare.topics.side_by_side import side_by_side
from bench.compare.writers.html import pictures
from bench.compare.writers.html.charts import sampling_figure
from bench.compare.writers.html.claims import place, places_of
from bench.compare.writers.html.page import document
from bench.compare.writers.html.pictures import Picture, album
from bench.compare.writers.html.plotly import styles
from bench.compare.writers.html.section import Part, numbered
from bench.compare.writers.html.templates import environment

BUDGETS = ("120 s", "240 s")


def macro(file: str, name: str, *values) -> str:
    """What a macro of a template makes."""
    return str(getattr(environment().get_template(f"{file}.html.jinja").module, name)(*values))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    """Runs of two budgets on digits, of one on grid25; the same models everywhere."""
    folder = tmp_path_factory.mktemp("mixed")
    make_run = partial(write_run, folder)
    for dataset, budget in [*(("digits", budget) for budget in BUDGETS), ("grid25", BUDGETS[0])]:
        protocol = PROTOCOL | {"budget": budget}
        for seed in range(3):
            at = seed + 10 * BUDGETS.index(budget)
            kept = {"protocol": protocol, "dataset": dataset}
            make_run("dcgan_small", at, {"generator": scores(20.0 + seed) | costs(1, 0.5)}, **kept)
            ddpm = {"ddim-50": scores(9.0 + seed) | costs(50, 30.0)}
            make_run("ddpm_small", at, ddpm, **kept)
    return folder / "runs"


def parts_of(folder: Path, *allowed: str) -> list[Part]:
    by_dataset: dict[str, list] = {}
    for run in read_runs([folder]):
        by_dataset.setdefault(run.dataset, []).append(run)
    comparisons = [
        compare_runs(group, values)
        for runs in by_dataset.values()
        for values, group in split_runs(runs, allowed)
    ]
    return [part(comparison) for comparison in comparisons]


def part(comparison: Comparison) -> Part:
    quality = Topic("Quality", (main_table(comparison),), ranked=True)
    return Part(comparison.title, comparison, (quality,), (), ())


def test_findings_of_a_split_lead_into_that_split(mixed):
    parts = parts_of(mixed, "budget")
    assert [p.title for p in parts] == [
        *(f"digits, training budget: {b}" for b in BUDGETS),
        "grid25",
    ]
    places = places_of(parts)
    for of in parts:
        found = place("ddpm_small, ddim-50", of.title, places)
        assert found is not None
        assert found.row in of.row_ids
        assert [run.path for run in found.runs] == [
            run.path for run in of.comparison.runs if run.model == "ddpm_small"
        ]


def test_the_page_of_a_split_links_claims_to_their_own_rows(mixed, tmp_path):
    arguments = [str(mixed), "--out", str(tmp_path), "--allow-mixed", "budget"]
    assert main(arguments) == 0
    text = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "18 runs on digits, grid25, compared over seeds under 3 protocols, one for" in text
    for budget in ("120-s", "240-s"):
        assert f'href="#data-digits-training-budget-{budget}--row-' in text
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(set(ids)) == len(ids)
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)


def test_of_rows_of_one_name_that_of_most_seeds_is_meant(make_run):
    for seed in range(2):
        make_run("m", seed, {"s": scores(5.0 + seed)}, variant="b")
    folder = make_run("m", 0, {"s": scores(1.0)}, variant="a").parents[3]
    (only,) = parts_of(folder)
    found = place("m, s", only.title, places_of([only]))
    assert found is not None
    assert [run.variant for run in found.runs] == ["b", "b"]


def test_names_that_differ_in_signs_have_ids_of_their_own(study):
    comparison = compare_runs(read_runs([study]))
    made = [part(replace(comparison, dataset=name)) for name in ("my_images", "my-images", "図")]
    assert [p.name for p in numbered(made[1:])] == ["data-my-images", "data-x"]
    assert [p.name for p in numbered(made)] == ["data-1-my-images", "data-2-my-images", "data-3-x"]
    text = document(made, (), "python")
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(set(ids)) == len(ids)
    assert f"{len(comparison.runs)} runs on my_images, my-images, 図, compared over seeds" in text


def test_without_an_answer_the_first_link_leads_to_the_results(study):
    made = [part(compare_runs(read_runs([study])))]
    text = document(made, (), "python")
    assert '<a href="#results" class="skip">' in text
    assert "<main" in text.split('id="results"')[0].rpartition(">")[2]
    assert 'href="#answer"' not in text
    (answered,) = (replace(of, headline=("Take it.",)) for of in made)
    assert '<a href="#answer" class="skip">' in document([answered], (), "python")


def test_the_answer_is_that_of_the_first_comparison_and_the_others_are_a_list_of_links(study):
    plain = part(compare_runs(read_runs([study])))
    said = [
        {"title": "none", "headline": (), "more": ()},
        {"title": "digits", "headline": ("On digits, take <it>.", "Sure."), "more": ("Rows.",)},
        {"title": "digit", "headline": ("On digits, no.", "Unsure."), "more": ()},
        {"title": "a, b", "headline": ("On a, b, wait.",), "more": ()},
    ]
    text = document([replace(plain, **of) for of in said], (), "python")
    answer = text[text.index('<section id="answer">') : text.index('<section id="data-none">')]
    assert '<p class="lead">On <strong>digits</strong>, take &lt;it&gt;.</p>\n' in answer
    assert "<p>Sure.</p>" in answer
    fold = answer[answer.index("<details") : answer.index("</details>")]
    assert "More of the answer" in fold
    assert "<li>Rows.</li>" in fold
    assert '<li><a href="#data-digit">digit</a>: On digits, no.</li>' in answer
    assert '<li>On <a href="#data-a-b">a, b</a>, wait.</li>' in answer
    assert "Unsure." not in answer
    assert "Unsure." in text[text.index('<section id="data-digit">') :]
    assert text.count("Sure.") == text.count("Rows.") == 1


def test_answer_and_samples_come_first_then_figures_tables_all_pictures_and_claims_last(report):
    text = report.read_text(encoding="utf-8")
    body = text[text.index("<main") :]
    order = [
        '<section id="answer">',
        '<p class="lead">',
        '<div class="strip"',
        "More of the answer</summary>",
        '<section id="data-digits">',
        "<h3>Learning curves</h3>",
        "<h3>Cost of a sample</h3>",
        "<h3>Quality</h3>",
        "<summary><h3>Cost</h3></summary>",
        '<div class="gallery">',
        "<h3>From noise to samples</h3>",
        '<section id="claims">',
        '<section id="protocol">',
        '<section id="provenance">',
    ]
    assert [mark for mark in order if mark not in body] == []
    assert sorted(order, key=body.index) == order
    links = re.findall(r'<li><a href="#([^"]+)"', text[text.index("<nav>") : text.index("<main")])
    sections = re.findall(r'<section id="([^"]+)"', body)
    assert links == sections


def test_claims_that_were_not_measured_are_counted_and_not_shown(report):
    text = report.read_text(encoding="utf-8")
    claims = text[text.index('<section id="claims">') : text.index('<section id="protocol">')]
    words = r"Of (\d+) declared claims, these runs speak to (\d+): .*; (.*) (\d+)\."
    said = re.search(words, claims)
    assert said is not None
    declared, shown, silent = (int(said.group(k)) for k in (1, 2, 4))
    assert said.group(3) == "they say nothing about the other"
    assert declared == len(read_claims()) == shown + silent
    assert claims.count("<article") == claims.count("<summary>Findings</summary>") == shown
    assert 'data-verdict="not-measured"' not in claims


def test_samples_side_by_side_are_embedded_once_for_every_place_that_shows_them(report):
    text = report.read_text(encoding="utf-8")
    strip = text[text.index('<div class="strip"') : text.index("More of the answer</summary>")]
    held = re.findall(r'<img src="(data:image/png;base64,[^"]+)" id="([^"]+)"', strip)
    assert len(held) == 2  # the best GAN and the best diffusion model; the baseline has no picture
    assert strip.index("Real held-out samples") < strip.index(">GAN<")
    assert "No picture" in strip
    for _, name in held:
        assert text.count(f'data-same="{name}"') == 1
    embedded = text.count('<img src="data:')
    pictures = list((report.parents[1] / "digits").glob("*.png"))
    assert embedded == 2 * len(pictures) - 1  # of samples, one of them damaged, and trajectories


def test_a_picture_of_two_comparisons_is_held_by_one_of_them(make_run):
    path = make_run("dcgan_small", 0, {"g": scores(9.0)})
    (path / "samples").mkdir(exist_ok=True)
    Image.new("L", (64, 64)).save(path / "samples" / "checkpoint=1_g.png")
    comparison = compare_runs(read_runs([path]))
    of = replace(part(comparison), headline=("It is.",), strip=side_by_side(comparison))
    text = document([replace(of, title="a"), replace(of, title="b")], (), "python")
    assert text.count('id="data-a--picture-1"') == text.count('<img src="data:') == 1
    assert text.count('data-same="data-a--picture-1"') == 1
    assert 'id="data-b--picture-1"' not in text


@pytest.mark.parametrize(
    ("size", "corner"),
    [((530, 530), (265, 265)), ((530, 134), (265, 134)), ((530, 332), (265, 265))],
)
def test_a_corner_has_four_columns_and_rows(size, corner):
    assert Picture("", *size).corner == corner


def test_no_figure_of_a_front_without_a_finite_fid(make_run):
    path = make_run("m", 0, {"s": scores(float("nan")) | costs(1, 2.0)})
    nothing = compare_runs(read_runs([path]))
    assert sampling_figure(nothing, styles(nothing)) is None
    path = make_run("n", 0, {"s": scores(3.0) | costs(1, 2.0)})
    some = compare_runs(read_runs([path.parents[2]]))
    figure = sampling_figure(some, styles(some))
    assert figure is not None
    reading = "On the line, the cheapest first: n (s)."
    assert [view.reading for view in figure.views] == [reading] * 2
    assert macro("section", "figure", figure, "f").count("On the line, the cheapest first") == 2


def test_keys_are_written_as_scripts_read_them():
    cells = (Cell("FID ≤ 4", key=4.0), Cell("any number", key=0.0), Cell("∞", key=float("inf")))
    text = macro("tables", "table", Table(("a", "b", "c"), (cells,), labels=1), "t")
    assert re.findall(r'data-key="([^"]+)"', text) == ["4.0", "0.0", "Infinity"]
    plain = Table(("a",), ((Cell("1"),),), labels=0)
    assert "data-key" not in macro("tables", "table", plain, "t")


def test_pictures_are_read_until_there_is_no_room(tmp_path, monkeypatch):
    grids = []
    for k in range(6):
        noise = np.random.default_rng(k).integers(0, 255, (16, 16), dtype=np.uint8)
        file = tmp_path / f"{k}.png"
        Image.fromarray(noise).save(file)
        grids.append(Grid(f"picture {k}", file, f"{k}.png"))
    (tmp_path / "0.png").write_bytes(b"not a picture")
    room = sum(grid.source.stat().st_size for grid in grids[1:3]) + 5
    read: list[Path] = []
    real = pictures.compressed
    monkeypatch.setattr(pictures, "MAX_BYTES", room)
    monkeypatch.setattr(pictures, "compressed", lambda file: (read.append(file), real(file))[1])
    held = album([grids])
    assert [file.name for file in read] == ["0.png", "1.png", "2.png", "3.png"]
    text = macro("tables", "gallery", grids, held)
    assert text.count("<img") == 2
    assert "is unreadable: 4 pictures." in text


@pytest.mark.parametrize(("size", "sharp"), [(64, True), (200, True), (550, False)])
def test_only_small_pictures_keep_sharp_pixels(tmp_path, size, sharp):
    file = tmp_path / "p.png"
    Image.new("L", (size, size)).save(file)
    grid = Grid("p", file, "p.png")
    assert ('class="pixels"' in macro("tables", "gallery", [grid], album([[grid]]))) == sharp


@pytest.mark.parametrize("block", ["Kept by `trainer.keep`.", Notes(("Kept by `trainer.keep`.",))])
def test_settings_in_sentences_are_shown_as_code(block):
    made = macro("tables", "block", block, "name", {}, ())
    assert ">Kept by <code>trainer.keep</code>.<" in made
