"""Outputs of a comparison: every table in every format, all or nothing, and nothing else."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from synthetic_runs import FLOOR, costs, scores, write_run

from bench.compare import outputs
from bench.compare.cli import main, output_folder
from bench.compare.topics.pictures import Grid
from bench.compare.writers.markdown import bullets, code, escaped, gallery, paragraph
from bench.runtime.atomic_files import inert


def compare(root, *more: str) -> int:
    return main([str(root / "runs"), "--out", str(root / "out"), *more])


@pytest.fixture
def runs(tmp_path):
    """Three seeds of two models and the floor."""
    for seed in range(3):
        gan = {"generator": scores(10.0 + seed / 10) | costs(1, 0.5)}
        write_run(tmp_path, "dcgan_small", seed, gan)
        write_run(tmp_path, "ddpm_small", seed, {"ddim-50": scores(20.0 + seed) | costs(50, 30.0)})
    write_run(tmp_path, "real", 0, {"held-out": scores(1.0) | {"nfe": 0}}, protocol=FLOOR)
    return tmp_path


def test_claims_that_runs_say_nothing_about_are_one_number(runs, capsys):
    assert compare(runs, "--no-report") == 0
    said = re.search(
        r"^Of (\d+) declared claims, these runs speak to (\d+): .*;\s+they say nothing about the "
        r"other (\d+)\.",
        capsys.readouterr().out,
        re.MULTILINE,
    )
    assert said is not None
    declared, spoken, silent = map(int, said.groups())
    assert declared == spoken + silent
    page = (runs / "out" / "claims.md").read_text(encoding="utf-8")
    assert page.count("\n## ") == spoken + len(["Made by"])
    assert ": not measured" not in page
    cells = list(csv.DictReader((runs / "out" / "claims.csv").open(encoding="utf-8", newline="")))
    assert len({row["claim"] for row in cells}) == spoken
    assert not any(row["verdict"] == "not measured" for row in cells)


def test_without_a_claim_that_runs_speak_to_there_is_no_page_of_claims(tmp_path, capsys):
    write_run(tmp_path, "mine", 0, {"g": scores(5.0)})
    assert compare(tmp_path) == 0
    assert "declared claim" not in capsys.readouterr().out
    assert list((tmp_path / "out").glob("claims.*")) == []
    text = (tmp_path / "out" / "report" / "index.html").read_text(encoding="utf-8")
    assert 'id="claims"' not in text


def test_every_table_of_a_page_is_there_as_markdown_and_latex_and_all_numbers_as_one_csv(runs):
    assert compare(runs, "--no-report") == 0
    out = runs / "out"
    tables = re.compile(r"^\|? ?[-:| ]+\|$", re.MULTILINE)
    markdown = (out / "digits.md").read_text(encoding="utf-8")
    latex = (out / "digits.tex").read_text(encoding="utf-8")
    assert latex.count(r"\begin{table}") == len(tables.findall(markdown)) > 5
    files = sorted(path.name for path in out.rglob("*.csv"))
    assert files == ["claims.csv", "digits.csv"]
    verdicts = (out / "claims.md").read_text(encoding="utf-8")
    assert (out / "claims.tex").read_text(encoding="utf-8").count(r"\begin{table}") == 1
    for name, text in zip(files, (verdicts, markdown), strict=True):
        rows = list(csv.reader((out / name).open(encoding="utf-8", newline="")))
        assert len(rows) > 1
        assert {len(row) for row in rows} == {len(rows[0])}
        for cell in rows[1][:2]:
            assert escaped(cell) in text


@pytest.mark.parametrize("name", ["../../escaped", "a/b", "..", ".hidden", "a\\b", "a\nb"])
@pytest.mark.parametrize("column", ["dataset", "model", "sampler"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, name, column, capsys):
    path = write_run(tmp_path, "dcgan_small", 0, {"generator": scores(10.0)})
    file = path / "eval.csv"
    rows = list(csv.DictReader(file.open(newline="")))
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, rows[0].keys())
        writer.writeheader()
        writer.writerows(row | {column: name} for row in rows)
    before = sorted(tmp_path.rglob("*"))
    assert compare(tmp_path) == 2
    assert "but names are 1 to 100 printable characters" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_the_page_of_verdicts_keeps_its_name(runs, capsys):
    assert compare(runs, "--page", "claims") == 2
    assert "claims.md is the page of verdicts" in capsys.readouterr().err


def test_nothing_is_written_where_the_report_cannot_be_made(runs, monkeypatch, capsys):
    def broken(*_, **__):
        raise ValueError("curves.csv is damaged")

    monkeypatch.setattr(outputs, "document", broken)
    assert compare(runs) == 2
    assert "curves.csv is damaged" in capsys.readouterr().err
    assert not (runs / "out").exists()


def test_a_picture_that_leads_elsewhere_is_not_copied(runs):
    (secret := runs / "secret").write_text("mine")
    (run,) = (runs / "runs").rglob("dcgan_small/*/seed=0")
    (run / "samples").mkdir(exist_ok=True)
    (run / "samples" / "checkpoint=1_generator.png").symlink_to(secret)
    assert compare(runs, "--no-report") == 0
    assert not list((runs / "out").rglob("*.png"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b\\|c", "a\\|b\\\\\\|c"),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)>"),
        ("![i](https://evil/x.png)", "![i\\]\\(https://evil/x.png)"),
        ("DCGAN.__init__() got *args", "DCGAN.\\_\\_init\\_\\_() got \\*args"),
        ("ddpm_small at _home_", "ddpm_small at \\_home\\_"),
        ("costs $x_1$ or $5", "costs \\$x_1\\$ or \\$5"),
        ("~~gone~~", "\\~\\~gone\\~\\~"),
        ("\x1b[31mred \u202e", "\\\\x1b[31mred \\\\u202e"),
        ("&lt;b&gt; & &#36;", "&amp;lt;b&amp;gt; & &amp;#36;"),
        ("[a][b] and [b]: https://evil", "[a\\]\\[b] and [b\\]\\: https://evil"),
        ("ddpm_small, ddim-10 [1.0, 2.0]", "ddpm_small, ddim-10 [1.0, 2.0]"),
    ],
)
def test_text_from_runs_is_text_in_markdown(text, shown):
    assert escaped(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# a", "\\# a"),
        ("> a", "\\> a"),
        ("- a", "\\- a"),
        ("+ a", "\\+ a"),
        ("===", "\\==="),
        ("12. a", "12\\. a"),
        ("1) a", "1\\) a"),
        ("1.5 times", "1.5 times"),
        ("a # b", "a # b"),
    ],
)
def test_a_sentence_is_no_heading_list_or_quotation(text, shown):
    assert paragraph(text) == shown
    assert bullets([text]) == f"- {shown}"


DANGEROUS = ["=1+2", "+cmd|' /C calc'!A0", "@SUM(A1)", "-1+1|cmd", "\tx", "\rx", "＝1", "-x"]
HARMLESS = [
    "-5",
    "-0.25 [-0.5, -0.1]",
    "-0.5 ± 0.1",
    "+3",
    "-∞",
    "–",
    "5 ± 1",
    "ddpm",
    "",
    "< 0.001",
]


@pytest.mark.parametrize("cell", DANGEROUS)
def test_a_cell_that_a_spreadsheet_would_run_begins_with_an_apostrophe(cell):
    assert inert(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", HARMLESS)
def test_numbers_and_names_stay_as_they_are(cell):
    assert inert(cell) == cell


def test_no_table_has_a_formula_and_numbers_stay_numbers(tmp_path):
    for model in ("=cmd|' C calc'!A0", "@x", "dcgan"):
        row = scores(5.0) | {"kid_domain": -0.01, "overrides": "+trainer.x=1", "warning": "=1"}
        write_run(tmp_path, model, 0, {"-g": row | costs(1, 0.5)})
    assert compare(tmp_path, "--no-report") == 0
    files = sorted((tmp_path / "out").rglob("*.csv"))
    assert [file.name for file in files] == ["claims.csv", "digits.csv"]
    for file in files:
        cells = [c for row in csv.reader(file.open(encoding="utf-8", newline="")) for c in row]
        assert [c for c in cells if c.startswith(("=", "@", "+", "-")) and inert(c) != c] == []
    frame = pd.read_csv(tmp_path / "out" / "digits.csv")
    assert set(frame["model"]) == {"'=cmd|' C calc'!A0", "'@x", "dcgan"}
    assert set(frame["sampler"]) == {"'-g"}
    assert set(frame["overrides"]) == {"'+trainer.x=1"}
    assert frame["kid_domain_mean"].tolist() == [-0.01] * 3
    assert frame["kid_domain_mean"].dtype == float


def test_nothing_of_a_run_steers_the_terminal(tmp_path, capsys):
    path = write_run(tmp_path, "dcgan", 0, {"g": scores(5.0)})
    text = (path / "eval.csv").read_text().replace("_domain", "_dom\x1b[2Jain")
    (path / "eval.csv").write_text(text)
    assert compare(tmp_path, "--no-report") == 0
    (path / "eval.csv").write_text(text.replace("dcgan", "dc\x9bgan\u202e"))
    assert compare(tmp_path, "--no-report") == 2  # such a name is refused, in words that are safe
    assert main([str(tmp_path / "none\x1b[31m")]) == 2
    shown = capsys.readouterr()
    for said in (shown.out, shown.err):
        assert not set(said) & set("\x1b\x9b\u202e")
    assert "dc\\x9bgan\\u202e" in shown.err
    assert "dom\\x1b[2Jain" in shown.out
    assert "none\\x1b[31m does not exist" in shown.err


LINE = (sys.executable, "-m", "bench.compare")


def started(root, **environment: str) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    return subprocess.Popen(
        [*LINE, str(root / "runs"), "--out", str(root / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
        encoding="utf-8",
        errors="replace",
    )


def test_all_files_are_there_although_the_reader_has_left(runs):
    process = started(runs, PYTHONUNBUFFERED="1")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=120) == 0
    process.stderr.close()
    out = runs / "out"
    for name in ("digits.md", "digits.csv", "digits.tex", "claims.md", "report/index.html"):
        assert (out / name).stat().st_size > 0


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_words_that_a_terminal_cannot_show_are_replaced(runs, environment):
    process = started(runs, **environment)
    said, wrong = process.communicate(timeout=120)
    assert (process.returncode, wrong) == (0, "")
    assert "ddpm_small" in said
    assert "?" in said
    assert "report/index.html" in said
    text = (runs / "out" / "digits.md").read_text(encoding="utf-8")
    assert "↓" in text
    assert "±" in text


def test_words_that_cannot_be_written_are_an_error_after_all_files(runs):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*LINE, str(runs / "runs"), "--out", str(runs / "out")],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
        )
    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert (runs / "out" / "report" / "index.html").exists()


SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


def test_the_report_is_opened_as_a_file_in_the_readers_browser(runs, tmp_path):
    folder = runs / "50% of #1"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > "{tmp_path}/opened"\n')
    browser.chmod(0o755)
    done = subprocess.run(
        [*LINE, str(runs / "runs"), "--out", str(folder), "--open"],
        env=os.environ | {"BROWSER": f"{browser} %s"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    report = folder / "report" / "index.html"
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "opened").read_text() == report.as_uri()
    assert done.stdout.endswith(f"The report is open in your browser: {report}\n")


@pytest.mark.parametrize("display", ["", ":7"])
def test_without_a_browser_the_command_says_where_the_report_is(runs, display, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr("webbrowser.open", lambda url: asked.append(url))  # as where none starts
    monkeypatch.setattr(sys, "platform", "linux")
    for name in SCREENS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", display)
    assert compare(runs, "--open") == 0
    report = runs / "out" / "report" / "index.html"
    assert asked == ([report.as_uri()] if display else [])
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == f"The report could not be opened, no browser was found here: {report}"


@pytest.mark.parametrize(
    ("paths", "folder"),
    [
        (["results/runs"], "results/comparison"),
        (["results/runs/digits"], "results/comparison"),
        (["results/runs/digits", "results/runs/ring8/x/default/seed=0"], "results/comparison"),
        (["results/claims/runs/digits"], "results/claims/comparison"),
        (["results/runs/digits/gan/default/seed=0/eval.csv"], "results/comparison"),
        (["runs"], "comparison"),
        (["/data/runs/a/runs/digits"], "/data/runs/a/comparison"),
        (["/data/theirs"], "/data/theirs/comparison"),
        (["/data/theirs/eval.csv"], "/data/theirs/comparison"),
        (["/data/a/x", "/data/a/y"], "/data/a/comparison"),
    ],
)
def test_pages_go_beside_the_runs_unless_told_otherwise(paths, folder):
    assert output_folder([Path(path) for path in paths]) == Path(folder)


def test_results_under_version_control_are_not_overwritten(runs, monkeypatch, capsys):
    """Without --out, as where tables beside the folder of runs are committed."""
    (runs / "results").mkdir()
    (runs / "runs").rename(runs / "results" / "runs")
    committed = runs / "results" / "digits.md"
    committed.write_text("committed")
    monkeypatch.chdir(runs)
    assert main(["--no-report"]) == 0
    assert committed.read_text() == "committed"
    assert {path.name for path in (runs / "results").iterdir()} == {
        "digits.md", "runs", "comparison",
    }  # fmt: skip
    assert "→ results/comparison/digits.md" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_one_sentence(runs, capsys):
    (runs / "out").write_text("a file")
    assert compare(runs) == 2
    said = capsys.readouterr().err
    assert re.search(
        r"out/digits\.md cannot be written \(.*\): name another folder with --out", said
    )
    assert said.count("\n") == 1


def test_a_single_run_does_not_get_pages_in_its_own_folder(runs, monkeypatch):
    (run,) = (runs / "runs").rglob("dcgan_small/*/seed=0")
    elsewhere = runs / "theirs" / "one"
    run.rename(elsewhere.parent.mkdir() or elsewhere)
    monkeypatch.chdir(elsewhere)
    assert main([".", "--no-report"]) == 0
    assert (runs / "theirs" / "comparison" / "digits.md").exists()


def test_a_command_cannot_end_its_fence_and_a_title_cannot_end_its_picture(tmp_path):
    text = code("python -m bench model=x\n```\n# <img src=x>\n````")
    assert text.startswith("`````sh\n")
    assert text.endswith("\n`````")
    grid = Grid("m](https://evil) <b>", tmp_path / "x.png", "digits/a b).png")
    assert gallery([grid]) == (
        "**m\\]\\(https://evil) &lt;b>**\n\n![m\\]\\(https://evil) &lt;b>](digits/a%20b%29.png)"
    )
