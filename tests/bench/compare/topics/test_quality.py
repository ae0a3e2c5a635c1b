"""Runs → statistics → pages, against a golden file."""

from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from golden_files import check_golden
from rich.console import Console
from synthetic_runs import PROTOCOL, costs, scores

from bench.compare import cli
from bench.compare.cells import computed, exact, interval, natural, p_value, spread
from bench.compare.comparison import Comparison, compare_runs
from bench.compare.protocols import ProtocolError
from bench.compare.read import read_runs
from bench.compare.topics.page import Section, notes
from bench.compare.topics.quality import held_out_table
from bench.compare.writers.csv import to_frame
from bench.compare.writers.markdown import page
from bench.compare.writers.terminal import show, show_files


def one_page(comparison: Comparison, command: str = "bench.compare") -> str:
    """The page of one comparison that has it to itself."""
    return page(comparison.dataset, [Section(comparison)], command)


def test_the_page_is_the_golden_one(study):
    comparison = compare_runs(read_runs([study]))
    check_golden("digits.md", one_page(comparison, "python -m bench.compare results/runs/digits"))


def test_the_csv_is_the_golden_one(study):
    comparison = compare_runs(read_runs([study]))
    check_golden("digits.csv", to_frame(comparison).to_csv(index=False, float_format="%.8g"))


def printed(study: Path, width: int) -> str:
    text = StringIO()
    console = Console(file=text, width=width)
    show(console, compare_runs(read_runs([study])))
    show_files(console, (Path("results/digits.md"),))
    return "".join(line.rstrip() + "\n" for line in text.getvalue().splitlines())


def test_the_terminal_table_is_the_golden_one(study):
    check_golden("digits.txt", printed(study, 110))


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_terminal_table_fits(study, width):
    table = printed(study, width).split("Fewer than")[0]
    assert max(map(len, table.splitlines())) <= width
    assert "…" not in table
    assert "10.07 ± 0.20" in table


def test_statistics_are_over_seeds(study):
    frame = to_frame(compare_runs(read_runs([study])))
    row = frame[(frame["model"] == "ddpm_small") & (frame["sampler"] == "ddim-50")].iloc[0]
    values = pd.Series([9.87 * (1 + seed / 50) for seed in range(3)])
    assert row["n"] == 3
    assert row["seeds"] == "0 1 2"
    assert row["fid_domain_mean"] == pytest.approx(values.mean())
    assert row["fid_domain_std"] == pytest.approx(values.std())
    assert row["budget"] == "120 s"


def quality_rows(text: str) -> dict[tuple[str, ...], list[str]]:
    """Cells of the quality table by (model, sampler)."""
    lines = [line for line in text.split("\n## ")[1].splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]
    return {(row[0], row[1]): row[2:] for row in cells}


def test_best_is_marked_among_trained_models_only(study):
    rows = quality_rows(one_page(compare_runs(read_runs([study]))))
    assert rows["ddpm_small", "ddim-50"][2] == "**10.07 ± 0.20**"
    assert "**" not in rows["ddpm_small", "ddim-10"][2]
    assert not any("**" in cell for cell in rows["real", "real"])
    assert list(rows)[-1] == ("real", "real")


def test_failed_runs_are_never_missing(study):
    comparison = compare_runs(read_runs([study]))
    rows = {(e.model, e.status): e for e in comparison.entries}
    assert rows["mlp_gan", "failed"].reason == "the generator loss was not finite at step 120"
    assert rows["mlp_gan", "finished"].seeds == ("1",)
    assert rows["ddpm", "unfinished"].mean == {}
    frame = to_frame(comparison)
    assert frame.loc[frame["status"] != "finished", "fid_domain_mean"].isna().all()


def test_only_failed_runs_still_make_a_table(make_run, tmp_path):
    from bench.runs.directory import Status

    path = make_run("dcgan", 0, {}, status=Status("failed", "out of memory", 3, "discriminator"))
    text = one_page(compare_runs(read_runs([path])))
    assert quality_rows(text)["dcgan", "–"][1:3] == ["seed 0", "failed"]
    assert "dcgan seed 0 failed and has no result: out of memory (discriminator, step 3)." in text
    assert cli.main([str(path), "--out", str(tmp_path / "out")]) == 0


def test_one_seed_has_no_spread_and_a_note(make_run):
    path = make_run("dcgan", 0, {"generator": scores(12.3456)})
    text = one_page(compare_runs(read_runs([path])))
    assert "12.3 ± –" in text
    assert "Fewer than 3 seeds for dcgan" in text


def test_only_the_last_checkpoint_counts(make_run):
    make_run("dcgan", 0, {"generator": scores(50.0)}, checkpoint=1)
    path = make_run("dcgan", 0, {"generator": scores(20.0)}, checkpoint=2)
    (entry,) = compare_runs(read_runs([path])).entries
    assert entry.mean["fid_domain"] == 20.0


def test_variants_are_told_apart_only_where_there_are_several(make_run):
    row = scores(5.0) | {"overrides": "precision=bf16"}
    one = make_run("dcgan", 0, {"generator": row}, variant="1a2b3c")
    comparison = compare_runs(read_runs([one]))
    assert comparison.label(comparison.entries[0]) == "dcgan"
    assert not any("ran with" in sentence for sentence in notes(comparison))
    two = make_run("dcgan", 0, {"generator": scores(4.0)})
    comparison = compare_runs(read_runs([one, two]))
    assert [comparison.label(e) for e in comparison.entries] == ["dcgan", "dcgan (1a2b3c)"]
    assert "dcgan (1a2b3c) ran with precision=bf16." in notes(comparison)


def test_seeds_of_different_recipes_are_not_averaged(make_run):
    runs = [
        make_run("dcgan", seed, {"generator": scores(5.0) | {"recipe": recipe}})
        for seed, recipe in enumerate(("aa", "aa", "bb"))
    ]
    assert len(compare_runs(read_runs(runs[:2])).entries) == 1
    with pytest.raises(ProtocolError, match="recipe aa in seeds 0, 1, bb in 2"):
        compare_runs(read_runs(runs))


def test_every_extractor_has_its_own_table(make_run):
    inception = {name.replace("domain", "inception"): v for name, v in scores(7.0).items()}
    path = make_run(
        "dcgan",
        0,
        {"generator": scores(5.0) | inception},
        extractors=("domain", "inception"),
        protocol=PROTOCOL | {"extractors": "domain:a inception:b"},
    )
    text = one_page(compare_runs(read_runs([path])))
    first, second = text.split("## Quality (inception)")
    assert "FID (domain) ↓" in first
    assert "class KL (nats) ↓" in first
    assert "KID (inception) ×10³ ↓" in second.split("## Cost")[0]
    assert "(inception)" not in first
    assert "## Bias and memorisation (inception)" in second
    assert "## Sampling intervals (inception)" in second


def test_values_that_were_not_measured_are_dashes(make_run):
    one = make_run("dcgan", 0, {"generator": {"fid_domain": float("nan"), "nfe": 1}})
    two = make_run("gan", 0, {"generator": {"fid_domain": 2.0, "kid_domain": 0.1}})
    rows = quality_rows(one_page(compare_runs(read_runs([one, two]))))
    assert rows["dcgan", "generator"] == ["ema", "1", "–", "–", "1"]
    assert rows["gan", "generator"] == ["ema", "1", "2 ± –", "100 ± –", "–"]


def test_a_run_in_which_nothing_was_measured_has_a_row(make_run):
    path = make_run("dcgan", 0, {"generator": {}})
    assert quality_rows(one_page(compare_runs(read_runs([path]))))["dcgan", "generator"][-1] == "–"
    assert "dcgan" in printed(path, 80)


@pytest.mark.parametrize("field", ["samples", "extractors", "budget", "device"])
def test_different_protocols_are_refused(make_run, capsys, tmp_path, field):
    one = make_run("dcgan", 0, {"generator": scores(5.0)})
    two = make_run("ddpm", 0, {"ddim-50": scores(4.0)}, protocol=PROTOCOL | {field: "another"})
    make_run("real", 0, {"real": scores(1.0)}, protocol=PROTOCOL | {"budget": ""})
    assert cli.main([str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    values = (repr(str(PROTOCOL[field])), "'another'")
    for part in (f"differ in {field}", *values, str(one), str(two), f"--allow-mixed {field}"):
        assert part in message
    assert not (tmp_path / "out").exists()


def test_an_empty_protocol_value_agrees_with_anything(study):
    compare_runs(read_runs([study]))


def test_the_command_writes_one_table_per_data_set(make_run, tmp_path, capsys):
    make_run("dcgan", 0, {"generator": scores(5.0) | costs(1, 0.5)})
    protocol = PROTOCOL | {"data_hash": "ffff"}
    make_run("dcgan", 0, {"generator": scores(5.0)}, dataset="mnist", protocol=protocol)
    out = tmp_path / "out"
    assert cli.main([str(tmp_path / "runs"), "--out", str(out)]) == 0
    written = {file.name for file in out.iterdir()}
    assert {"digits.csv", "digits.md", "mnist.csv", "mnist.md"} <= written
    printed = capsys.readouterr().out
    assert "digits.md" in printed
    assert f"--out {out}" in (out / "digits.md").read_text()


@pytest.mark.parametrize(
    ("mean", "std", "text"),
    [
        (23.4567, 0.5123, "23.46 ± 0.51"),
        (123.456, 12.3, "123 ± 12"),
        (0.95123, 0.0000123, "0.9512 ± 0.0000"),
        (10.0, 0.0, "10 ± 0"),
        (9.5, 0.0, "9.50 ± 0.00"),
        (121_300.0, 3_210.0, "121.3k ± 3.2k"),
        (12.3456, float("nan"), "12.3 ± –"),
        (10.0, float("nan"), "10 ± –"),
        (float("nan"), float("nan"), "–"),
        (float("inf"), float("nan"), "∞"),
        (0.0, 0.0, "0 ± 0"),
        (-0.4, 0.25, "-0.40 ± 0.25"),
    ],
)
def test_digits_follow_the_spread(mean, std, text):
    assert spread(mean, std) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (50, "50"),
        (9999, "9999"),
        (1_071_234, "1.07M"),
        (35_746_307, "35.7M"),
        (0.0617, "0.0617"),
        (0.0000123456, "1.23e-05"),
        (2.5, "2.50"),
        (123.456, "123"),
        (float("nan"), "–"),
    ],
)
def test_exact_numbers_have_three_digits(value, text):
    assert exact(value) == text


@pytest.mark.parametrize(("device", "shown"), [("cpu: Example CPU", False), ("NVIDIA H100", True)])
def test_peak_memory_is_shown_where_it_is_exact(make_run, device, shown):
    row = scores(2.0) | costs(1, 0.5)
    path = make_run("dcgan", 0, {"generator": row}, protocol=PROTOCOL | {"device": device})
    text = one_page(compare_runs(read_runs([path])))
    assert ("training memory (MiB)" in text) == shown
    assert ("Peak memory is only in the CSV" in text) != shown


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((10.0, 9.5, 10.6), "10.00 [9.50, 10.60]"),
        ((0.9, 0.88, 0.91), "0.900 [0.880, 0.910]"),
        ((12_345.0, 12_000.0, 13_000.0), "12.35k [12.00k, 13.00k]"),
        ((-0.2, -1.0, 0.5), "-0.20 [-1.00, 0.50]"),
        ((1.0, 1.0, 1.0), "1.00 [1.00, 1.00]"),
        ((1.0, float("nan"), 2.0), "–"),
    ],
)
def test_intervals_have_the_digits_of_their_length(values, text):
    assert interval(*values) == text


def test_computed_numbers_have_four_digits():
    assert [computed(x) for x in (98.8891, 8.0, 0.00140106, 999.99999)] == [
        "98.89",
        "8",
        "0.001401",
        "1000",
    ]


def test_p_values_have_three_decimals():
    assert [p_value(p) for p in (0.00099, 0.001, 0.0496, 1.0, float("nan"))] == [
        "< 0.001",
        "0.001",
        "0.050",
        "1.000",
        "–",
    ]


def test_numbers_within_a_text_sort_by_size():
    assert sorted(["seed 10", "seed 2", "a", ""], key=natural) == ["", "a", "seed 2", "seed 10"]


BOUND = {"bits_per_dim": 3.5, "bits_prior": 0.01, "bits_kl": 3.2, "bits_reconstruction": 0.29}
CLASSES = {"accuracy": 0.9, "accuracy_supervised": 0.825}


def held_out(text: str) -> tuple[list[str], dict[tuple[str, str], list[str]], list[str]]:
    """Headings of the table of held-out data, its cells by (model, sampler), its sentences."""
    section = text.split("## Held-out data\n")[1].split("\n## ")[0]
    lines = section.splitlines()
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in lines
        if line.startswith("| ") and not line.startswith("| -")
    ]
    rows = {(row[0], row[1]): row[2:] for row in cells[1:]}
    return cells[0], rows, [line for line in lines if line.startswith("- ")]


def test_what_models_say_about_held_out_data_has_a_table(make_run):
    runs = []
    for seed, shift in enumerate((-0.25, 0.0, 0.25)):
        bound = BOUND | {"bits_per_dim": 3.5 + shift}
        runs.append(make_run("ddpm", seed, {"ddim-50": scores(4.0) | bound}))
        worse = BOUND | {"bits_per_dim": 4.5 + shift}
        runs.append(make_run("ddpm_vlb", seed, {"ddim-50": scores(4.0) | worse}))
        told = CLASSES | {"accuracy": 0.9 + shift / 20}
        runs.append(make_run("semi_gan", seed, {"generator": scores(5.0) | told}))
        runs.append(make_run("dcgan", seed, {"generator": scores(6.0)}))
    headings, rows, sentences = held_out(one_page(compare_runs(read_runs(runs))))
    assert headings == [
        "model",
        "sampler",
        "seeds",
        "bits/dim ≤ ↓",
        "prior (bits/dim)",
        "KL (bits/dim)",
        "reconstruction (bits/dim)",
        "test accuracy (%) ↑",
        "supervised alone (%)",
    ]
    nothing = ["–"] * 6
    assert rows["ddpm", "ddim-50"][1] == "**3.50 ± 0.25**"
    assert rows["ddpm_vlb", "ddim-50"][1] == "4.50 ± 0.25"
    parts = [cell.split(" ± ")[0] for cell in rows["ddpm_vlb", "ddim-50"][2:5]]
    assert [float(part) for part in parts] == [0.01, 3.2, 0.29]
    assert rows["ddpm", "ddim-50"][5:] == nothing[:2]
    assert rows["semi_gan", "generator"][1:5] == nothing[:4]
    assert rows["semi_gan", "generator"][5:] == ["90.0 ± 1.2", "82.5 ± 0.0"]
    assert not any(model == "dcgan" for model, _ in rows)  # it only draws
    assert [sentence[:10] for sentence in sentences] == ["- Bits/dim", "- Test acc"]


@pytest.mark.parametrize(
    ("said", "heading", "absent"),
    [(BOUND, "bits/dim", "accuracy"), (CLASSES, "test accuracy", "bits/dim")],
    ids=["bound", "classes"],
)
def test_columns_and_sentences_of_what_no_model_says_are_left_out(make_run, said, heading, absent):
    path = make_run("ddpm", 0, {"ddim-50": scores(4.0) | said, "ddim-10": scores(5.0) | said})
    headings, rows, sentences = held_out(one_page(compare_runs(read_runs([path]))))
    assert headings[3].startswith(heading)
    assert not any(absent in text for text in headings)
    assert len(sentences) == 1
    assert len(rows) == 2


def test_models_that_only_draw_have_no_table_of_held_out_data(study):
    comparison = compare_runs(read_runs([study]))
    assert held_out_table(comparison) is None
    assert "## Held-out data" not in one_page(comparison)


def test_a_run_that_failed_stands_in_the_table_of_held_out_data(make_run):
    from bench.runs.directory import Status

    runs = [
        make_run("ddpm", 0, {"ddim-50": scores(4.0) | BOUND}),
        make_run("edm", 0, {}, status=Status("failed", "out of memory", 3)),
    ]
    _, rows, _ = held_out(one_page(compare_runs(read_runs(runs))))
    assert rows["edm", "–"] == ["seed 0", "failed", "–", "–", "–"]


def test_held_out_columns_reach_the_csv(make_run):
    path = make_run("ddpm", 0, {"ddim-50": scores(4.0) | BOUND | CLASSES})
    row = to_frame(compare_runs(read_runs([path]))).iloc[0]
    for name, value in (BOUND | CLASSES).items():
        assert row[f"{name}_mean"] == pytest.approx(value)  # as measured, shares included
