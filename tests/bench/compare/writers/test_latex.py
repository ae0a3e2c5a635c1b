"""LaTeX: every sign is shown as it is, tables are those of the page, and pdflatex takes them."""

import re
import shutil
import string
import subprocess

import pytest

from bench.compare.cells import Cell, Table
from bench.compare.cli import main
from bench.compare.comparison import compare_runs
from bench.compare.read import read_runs
from bench.compare.topics.page import Section
from bench.compare.writers.latex import SPECIAL, latex_page, latex_table, latex_text, named_tables

HOSTILE = r"100% & \input{/etc/passwd} $x^2_3$ #1 ~{}[*] <|>`'\"" + " ± ↓ ↑ ∞ ≤ × ³ ⚠ – −"


def test_no_sign_of_a_text_is_left_for_latex_to_read():
    escaped = latex_text(HOSTILE)
    made = "|".join(map(re.escape, sorted(set(SPECIAL.values()), key=len, reverse=True)))
    rest = re.sub(made, "", escaped)
    assert set(rest) <= set(string.ascii_letters + string.digits + " .,()=+-/*")
    assert latex_text("a\n\n b") == "a b"  # an empty line would end a paragraph


def test_a_table_has_booktabs_rules_and_the_best_in_bold():
    rows = ((Cell("a_b"), Cell("1.5", best=True)), (Cell("c"), Cell("2")))
    lines = latex_table(Table(("model", "FID ↓"), rows, labels=1), "FID & co", "x").splitlines()
    inner = lines[lines.index(r"\begin{tabular}{@{}lr@{}}") + 1 : lines.index(r"\end{tabular}}")]
    assert inner == [
        r"\toprule",
        r"model & FID $\downarrow$ \\",
        r"\midrule",
        r"a\_b & \textbf{1.5} \\",
        r"c & 2 \\",
        r"\bottomrule",
    ]
    assert r"\caption{FID \& co}" in lines


def test_every_table_of_the_page_is_there_under_a_label_of_its_own(study):
    comparison = compare_runs(read_runs([study]))
    sections = [Section(comparison), Section(comparison, heading="again")]
    blocks = [block for topic in sections[0].topics for block in topic.blocks]
    tables = sum(isinstance(block, Table) for block in blocks)
    text = latex_page(named_tables("digits", sections), "python -m bench.compare\n\\end")
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(labels) == 2 * tables > 10
    assert len(set(labels)) == len(labels)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2 * tables
    assert "\n\\end\n" not in text  # the command stays one comment


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_pdflatex_takes_the_page(study, tmp_path):
    assert main([str(study), "--out", str(tmp_path), "--no-report"]) == 0
    hostile = latex_table(Table(("x",), ((Cell(HOSTILE),),), labels=1), HOSTILE, "hostile")
    (tmp_path / "hostile.tex").write_text(hostile)
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\n\\usepackage[utf8]{inputenc}\\usepackage[T1]{fontenc}\n"
        "\\usepackage{booktabs,graphicx}\n\\begin{document}\n"
        "\\input{digits}\\clearpage\\input{hostile}\n\\end{document}\n"
    )
    line = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000
