"""Class-conditional models are compared among themselves."""

from pathlib import Path

import pytest
from synthetic_runs import FLOOR, PROTOCOL, costs, scores

from bench.compare import cli
from bench.compare.comparison import Comparison, comparable, compare_runs, separated
from bench.compare.read import read_runs
from bench.compare.topics.columns import best_entries, measure
from bench.compare.topics.headline import headline
from bench.compare.topics.page import notes
from bench.compare.topics.pairs import compare_pairs
from bench.compare.topics.pareto import sampling_front
from bench.compare.topics.recommendation import answer, recommendation
from bench.compare.topics.settled import questions_of_pairs
from bench.runs.directory import Status

SECONDS = PROTOCOL | {"budget": "seconds=600"}
CLASSES = SECONDS | {"class_labels": "data"}
SENTENCE = "Class-conditional, and so not compared with these: cond_ddpm_small (dpmpp-10-cfg2), FID"


@pytest.fixture
def compared(make_run, tmp_path):
    """A GAN, a DDPM, and class-conditional models that are better and cheaper than both."""

    def make(*conditional: str) -> Comparison:
        for seed in range(3):
            for model, fid, cost in (("dcgan_small", 8.0, 0.2), ("ddpm_small", 20.0, 60.0)):
                row = scores(fid + seed / 10) | costs(1, cost)
                make_run(model, seed, {"s": row}, protocol=SECONDS)
            for k, model in enumerate(conditional):
                rows = {
                    "dpmpp-10": scores(1.5 + k + seed / 100) | costs(10, 0.1),
                    "dpmpp-10-cfg2": scores(0.91 + k + seed / 100) | costs(20, 0.15),
                }
                make_run(model, seed, rows, protocol=CLASSES)
        make_run("real", 0, {"held-out": scores(0.5) | {"nfe": 0}}, protocol=FLOOR)
        return compare_runs(read_runs([tmp_path / "runs"]))

    return make


def models(comparison: Comparison) -> set[str]:
    return {entry.model for entry in comparison.entries}


def test_one_of_them_is_named_and_compared_with_nothing(compared):
    comparison = compared("cond_ddpm_small")
    assert separated(comparison) == (comparison,)
    for sentences in (headline(comparison), answer(comparison), recommendation(comparison)):
        (named,) = (sentence for sentence in sentences if "cond_ddpm_small" in sentence)
        assert named.startswith(SENTENCE)
    assert "the best GAN is ahead of the best diffusion model" in headline(comparison)[0]
    assert "is that of dcgan_small (s)" in answer(comparison)[0]
    assert any(note.startswith(SENTENCE) for note in notes(comparison))
    fair = comparable(comparison)
    assert models(fair) == {"dcgan_small", "ddpm_small", "real"}
    assert [(pair.a.model, pair.b.model) for pair in compare_pairs(fair)] == [
        ("dcgan_small", "ddpm_small")
    ]
    assert {c.entry.model for c in sampling_front(fair, "latency_ms") if c.on_front} == {
        "dcgan_small"
    }
    (question,) = questions_of_pairs(comparison)
    assert question.name == "digits: dcgan_small or ddpm_small"
    (best,) = best_entries(comparison, measure("fid", "domain"))
    assert comparison.entries[best].model == "dcgan_small"


def test_several_are_compared_with_each_other(compared):
    plain, conditional = separated(compared("cond_ddpm_small", "cond_edm_small"))
    assert plain.title == "digits"
    assert conditional.title == "digits, class-conditional models"
    assert models(plain) == {"dcgan_small", "ddpm_small", "real"}
    assert models(conditional) == {"cond_ddpm_small", "cond_edm_small", "real"}
    assert "is that of cond_ddpm_small (dpmpp-10-cfg2)" in answer(conditional)[0]
    assert not any("Class-conditional" in s for s in (*answer(plain), *answer(conditional)))
    assert len(compare_pairs(comparable(conditional))) == 1
    (best,) = best_entries(conditional, measure("fid", "domain"))
    assert conditional.entries[best].model == "cond_ddpm_small"


def test_questions_are_asked_within_each_kind(compared):
    names = [q.name for q in questions_of_pairs(compared("cond_ddpm_small", "cond_edm_small"))]
    assert names == [
        "digits: dcgan_small or ddpm_small",
        "digits, class-conditional models: cond_ddpm_small or cond_edm_small",
    ]


def test_models_that_are_all_class_conditional_are_one_comparison(make_run, tmp_path):
    for model in ("cond_ddpm_small", "cgan_small"):
        make_run(model, 0, {"s": scores(3.0)}, protocol=CLASSES)
    comparison = compare_runs(read_runs([tmp_path / "runs"]))
    assert separated(comparison) == (comparison,)
    assert comparable(comparison) is comparison
    assert "the best diffusion model" in headline(comparison)[0]


def test_a_sampler_without_classes_is_compared_with_unconditional_models(make_run, tmp_path):
    make_run("dcgan_small", 0, {"s": scores(3.0)}, protocol=SECONDS)
    rows = {"s": scores(4.0) | {"class_labels": ""}, "s-cfg2": scores(1.0)}
    make_run("cond_ddpm_small", 0, rows, protocol=CLASSES)
    fair = comparable(compare_runs(read_runs([tmp_path / "runs"])))
    assert [(e.model, e.sampler) for e in fair.entries] == [
        ("dcgan_small", "s"),
        ("cond_ddpm_small", "s"),
    ]


def test_runs_that_failed_stand_with_the_other_seeds_of_their_model(compared, make_run, tmp_path):
    compared("cond_ddpm_small", "cond_edm_small")
    failed = Status("failed", "loss is nan", step=7)
    make_run("cond_edm_small", 3, {}, status=failed)
    make_run("mlp_gan", 0, {}, status=failed)
    plain, conditional = separated(compare_runs(read_runs([tmp_path / "runs"])))
    lost = {
        c.title: [e.model for e in c.entries if e.status == "failed"] for c in (plain, conditional)
    }
    assert lost == {plain.title: ["mlp_gan"], conditional.title: ["cond_edm_small"]}


def test_of_disturbed_unconditional_models_no_class_conditional_one_takes_the_place(
    make_run, tmp_path
):
    waits = {"train_waiting_seconds": 60.0}
    make_run("dcgan_small", 0, {"s": scores(8.0) | costs(1, 1.0) | waits}, protocol=SECONDS)
    make_run("cond_ddpm_small", 0, {"s": scores(1.0) | costs(1, 1.0)}, protocol=CLASSES)
    said = answer(compare_runs(read_runs([tmp_path / "runs"])))
    assert [sentence.partition(",")[0] for sentence in said] == [
        "Not compared",
        "Class-conditional",
    ]


def test_the_page_has_a_section_for_each_kind_and_the_csv_every_row_once(
    compared, tmp_path, capsys
):
    compared("cond_ddpm_small", "cond_edm_small")
    out = tmp_path / "out"
    assert cli.main([str(tmp_path / "runs"), "--out", str(out)]) == 0
    text = (out / "digits.md").read_text()
    _, plain, conditional = text.split("\n## ")[:3]
    assert plain.startswith("unconditional models\n")
    assert conditional.startswith("class-conditional models\n")
    assert "**8.10" in plain
    assert "**0.920" in conditional
    assert "| cond" not in plain
    assert "| real" in plain
    assert "| real" in conditional
    lines = (out / "digits.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 + 4 + 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "On digits, after 10 min of training, the best GAN is ahead" in printed
    assert "On digits, class-conditional models, after 10 min of training, the lowest" in printed
    html = Path(out / "report" / "index.html").read_text()
    assert "digits, class-conditional models" in html


def test_claims_see_all_runs(compared, tmp_path, monkeypatch):
    """The unconditional and the class-conditional runs of a claim are one comparison."""
    compared("cond_ddpm_small", "cond_edm_small")
    seen: list[set[str]] = []
    judge = cli.judge

    def spy(claims, comparisons):
        seen.extend(map(models, comparisons))
        return judge(claims, comparisons)

    monkeypatch.setattr(cli, "judge", spy)
    cli.gather([tmp_path / "runs"], mixed=(), name=None)
    assert seen == [{"dcgan_small", "ddpm_small", "cond_ddpm_small", "cond_edm_small", "real"}]
