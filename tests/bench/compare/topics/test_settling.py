"""Pages of comparisons that bench.decide made: what they say is what the questions say."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from golden_files import check_golden
from synthetic_runs import costs, scores

from bench.compare.cells import Table
from bench.compare.comparison import Comparison, compare_runs
from bench.compare.outputs import maps, report_text
from bench.compare.read import read_runs
from bench.compare.topics.headline import headline
from bench.compare.topics.page import Section, blocks
from bench.compare.topics.recommendation import answer
from bench.compare.topics.settled import contests, questions_of_pairs
from bench.compare.topics.settling import (
    SETTLED_HEADING,
    ranges,
    sequential_table,
    settled_table,
    verdict_words,
)
from bench.compare.writers.html.settling import settling_figure
from bench.compare.writers.markdown import page
from bench.runs.directory import Status
from bench.runs.looks import Look

MEANS = {"ddpm_small": 10.0, "edm_small": 10.1, "x0_diffusion_small": 10.9, "dcgan_small": 30.0}
"""Mean FIDs: two that are equal, one that is a little higher, one that is out at once."""

SEEDS = {"ddpm_small": 12, "edm_small": 12, "x0_diffusion_small": 12, "dcgan_small": 7}


@pytest.fixture
def race(make_run, tmp_path) -> Comparison:
    """Three seeds of a fixed sweep and more by bench.decide, and a model that always fails."""
    for k, (model, mean) in enumerate(MEANS.items()):
        rng = np.random.default_rng(k)
        noise = rng.normal(0, 0.04 if model != "x0_diffusion_small" else 0.3, 12)
        name, cost = ("g", costs(1, 0.2)) if "gan" in model else ("ddim-10", costs(10, 60.0))
        for seed in range(SEEDS[model]):
            look = Look(look=seed - 3).text if seed >= 3 else ""
            command = (
                f"python -m bench experiment=families dataset=digits seed={seed} model={model}"
            )
            status = Status("finished", step=100, command=command, sequential=look, seconds=150.0)
            row = {name: scores(mean * float(np.exp(noise[seed]))) | cost}
            make_run(model, seed, row, status=status)
    for seed in range(3):
        make_run("mlp_gan", seed, {}, status=Status("failed", "loss is nan", step=7))
    return compare_runs(read_runs([tmp_path]))


def sections(comparison: Comparison) -> dict[str, list[Table | str]]:
    return {heading: parts for heading, *parts in blocks(comparison)}


def rows(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


def test_the_page_is_the_golden_one(race):
    check_golden("sequential.md", page("digits", [Section(race)], "python -m bench.compare runs"))


def test_verdicts_of_the_table_are_the_states_of_the_questions(race):
    """bench.decide reads the questions: both say the same of the same runs."""
    found = contests(race)
    assert tuple(contest.question for contest in found) == questions_of_pairs(race)
    table = rows(sequential_table(race))
    assert len(table) == len(found) == 10
    words = {"settled": "different: ", "equal": "equal within ±10 %", "open": "open: about "}
    for row, contest in zip(table, found, strict=True):
        question = contest.question
        begin = "dropped" if question.dropped else words[question.state]
        assert row[-1].startswith(begin)
        assert row[2] == str(question.seeds)
    assert {c.question.state for c in found} == {"settled", "equal", "open"}
    assert {row[-1] for row in table if "always" in row[-1]} == {
        f"different: {model} is lower, mlp_gan always fails" for model in MEANS
    }


def test_recommendation_and_headline_follow_the_questions(race):
    best = contests(race)[0].a.model
    by_pair = {frozenset((c.a.model, c.b.model)): c for c in contests(race)}
    text = " ".join(answer(race))
    for model in MEANS.keys() - {best}:
        state = by_pair[frozenset((best, model))].question.state
        equal = re.search(r"It is equal within ±10 % to ([^.]*)\.", text)
        open_ = re.search(r"It is not shown to differ from ([^:]*):", text)
        assert (equal is not None and model in equal[1]) is (state == "equal")
        assert (open_ is not None and model in open_[1]) is (state == "open")
    assert "python -m bench.decide model=" in text
    assert re.search(r" experiment=families dataset=digits results_root=\S+ hours=", text)
    said = " ".join(headline(race))
    assert "the best diffusion model is ahead of the best GAN" in said
    assert "chance does not explain this difference (p below 0.05 at any number of seeds, H" in said


def test_student_never_judges_what_was_looked_at_after_every_seed(make_run, tmp_path):
    """Three seeds that Student's t calls different, and evidence does not."""
    for seed, fid in enumerate((5.0, 5.2, 4.9)):
        for model, name, factor in (("ddpm_small", "ddim-10", 1), ("dcgan_small", "g", 2)):
            made = Status("finished", sequential=Look().text)
            make_run(model, seed, {name: scores(fid * factor + seed / 10)}, status=made)
    comparison = compare_runs(read_runs([tmp_path]))
    assert "It is not shown to differ from dcgan_small (g)" in " ".join(answer(comparison))
    assert "may be chance" in " ".join(headline(comparison))
    assert "Student" not in str(sections(comparison))
    again = compare_runs([replace(run, status=Status("finished")) for run in comparison.runs])
    assert "It is lower than that of the other model" in " ".join(answer(again))
    assert SETTLED_HEADING not in sections(again)


def test_open_questions_come_first_and_the_cheapest_of_them_first(race):
    table = settled_table(race)
    states = [row[1] for row in rows(table)]
    order = ["open", "equal", "settled", "dropped"]
    assert states == sorted(states, key=order.index)
    cost = [c.seconds_left for c in contests(race) if c.question.state == "open"]
    assert states.count("open") + states.count("dropped") == len(cost)
    needed = [int(row[-1].split()[1]) for row in rows(table) if row[1] == "open"]
    assert needed == sorted(needed)
    assert len(needed) > 1


def test_a_page_says_which_seeds_were_made_in_which_way(race):
    sentences = [p for p in sections(race)["Differences between models"] if isinstance(p, str)]
    assert sentences[-2:] == [
        "Seeds that bench.decide made: 3–6 of dcgan_small; 3–11 of ddpm_small, edm_small and "
        "x0_diffusion_small.",
        "Seeds that sweeps over fixed seeds made, which count as well: 0–2 of dcgan_small, "
        "ddpm_small, edm_small and x0_diffusion_small.",
    ]


def test_an_open_verdict_says_what_is_missing(race):
    open_ = [c for c in contests(race) if verdict_words(race, c).startswith("open")]
    for contest in open_:
        n = math.ceil(contest.question.needed) - contest.question.seeds
        assert contest.seconds_left == 300 * n  # 150 s a run
        assert f"about {n} more seed" in verdict_words(race, contest)


def test_the_figure_has_a_line_a_question_and_the_thresholds(race):
    figure = settling_figure(race)
    assert figure is not None
    (view,) = figure.views
    lines = {trace["name"]: trace for trace in view.data}
    asked = [c for c in contests(race) if c.standing]
    assert len(view.data) == len(asked) + 3
    first = asked[0]
    line = lines[f"{first.a.model} or {first.b.model}"]
    assert line["x"] == list(range(first.question.seeds + 1))
    path = first.question.equal_path if line["line"]["dash"] == "dash" else first.question.path
    clipped = np.clip(path, 0.01, 1e6)
    assert line["y"][1:] == pytest.approx(clipped.tolist(), rel=1e-4)
    assert lines["first threshold: 120"]["y"] == [120, 120]
    assert lines["threshold of a difference: 80"]["y"] == [80, 80]
    assert lines["threshold of equality: 100"]["y"] == [100, 100]
    assert view.layout["yaxis"]["type"] == "log"


def test_the_report_shows_the_figure_above_its_table_and_the_command_as_code(race):
    pages = {"digits": [Section(race)]}
    html = report_text(pages, (), "python -m bench.compare runs", maps(pages))
    body = html[: html.index('id="provenance"')]
    heading = body.index(f"<summary><h3>{SETTLED_HEADING}</h3></summary>")
    figure = body.index(f'aria-label="{SETTLED_HEADING}" style="height')
    table = body.index(f'aria-label="{SETTLED_HEADING}, digits"')
    assert heading < figure < table
    assert body.count(f"<h3>{SETTLED_HEADING}</h3>") == 1
    assert "<code>python -m bench.decide model=" in body


def test_fixed_seeds_have_no_such_figure(make_run, tmp_path):
    for seed in range(3):
        make_run("ddpm", seed, {"g": scores(9.0 + seed)})
        make_run("edm", seed, {"g": scores(9.5 + seed)})
    comparison = compare_runs(read_runs([tmp_path]))
    assert settling_figure(comparison) is None
    assert SETTLED_HEADING not in sections(comparison)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([3], "3"), ([4, 0, 1, 2], "0–2, 4"), ([5, 6, 10, 11], "5–6, 10–11")],
)
def test_seeds_in_a_row_are_joined(numbers, text):
    assert ranges(numbers) == text
