"""What a comparison writes: every table in every form, all or nothing, and nowhere else."""

import csv
import re

import pytest
from conftest import write_run
from synthetic_runs import FLOOR, costs, scores

from bench.compare import outputs
from bench.compare.cli import main
from bench.compare.grids import Grid
from bench.compare.markdown import code, escaped, gallery


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


def test_every_table_of_a_page_is_there_as_markdown_csv_and_latex(runs):
    assert compare(runs, "--no-report") == 0
    out = runs / "out"
    for page, folder in (("digits", out / "digits"), ("claims", None)):
        markdown = (out / f"{page}.md").read_text(encoding="utf-8")
        latex = (out / f"{page}.tex").read_text(encoding="utf-8")
        files = sorted(folder.glob("*.csv")) if folder else [out / "claims.csv"]
        assert latex.count(r"\begin{table}") == len(files) >= 1
        for file in files:
            rows = list(csv.reader(file.open(encoding="utf-8", newline="")))
            assert len(rows) > 1
            assert {len(row) for row in rows} == {len(rows[0])}
            for cell in rows[1][:2]:
                assert escaped(cell) in markdown
    headings = re.findall(r"^\|? ?[-:| ]+\|$", (out / "digits.md").read_text(), re.MULTILINE)
    assert len(headings) == len(list((out / "digits").glob("*.csv")))


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
    def broken(*_):
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
        ("ddpm_small, ddim-10 [1.0, 2.0]", "ddpm_small, ddim-10 [1.0, 2.0]"),
    ],
)
def test_text_from_runs_is_text_in_markdown(text, shown):
    assert escaped(text) == shown


def test_a_command_cannot_end_its_fence_and_a_title_cannot_end_its_picture(tmp_path):
    text = code("python -m bench model=x\n```\n# <img src=x>\n````")
    assert text.startswith("`````sh\n")
    assert text.endswith("\n`````")
    grid = Grid("m](https://evil) <b>", tmp_path / "x.png", "digits/a b).png")
    assert gallery([grid]) == (
        "**m\\]\\(https://evil) &lt;b>**\n\n![m\\]\\(https://evil) &lt;b>](digits/a%20b%29.png)"
    )
