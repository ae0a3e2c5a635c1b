"""Mode coverage: measured, computed and published figures are kept apart."""

from io import StringIO

import pytest
from golden_files import check_golden
from rich.console import Console
from synthetic_runs import STACKED

from bench.compare import cli
from bench.compare.comparison import Comparison, compare_runs
from bench.compare.read import read_runs
from bench.compare.topics.modes import PERFECT_LABEL, mode_sentences, mode_table, published
from bench.compare.topics.quality import main_table
from bench.compare.writers.markdown import cell_text, page
from bench.compare.writers.terminal import show


@pytest.fixture
def ring(modes_study) -> Comparison:
    return compare_runs(read_runs([modes_study / "ring8"]))


def columns(comparison: Comparison) -> dict[str, list[str]]:
    """Cells of the table of modes, as written, by heading."""
    table = mode_table(comparison)
    return {
        heading: [cell_text(row[k]) for row in table.rows]
        for k, heading in enumerate(table.headings)
    }


def test_the_page_of_modes_is_the_golden_one(modes_study):
    sections = [
        section
        for name in ("ring8", "stacked_mnist")
        for section in cli.make_sections(
            [compare_runs(read_runs([modes_study / name]))], folder="modes", one_data_set=False
        )
    ]
    check_golden("modes.md", page("modes", sections, "python -m bench.compare --page modes"))


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("name", ["ring8", "stacked_mnist"])
def test_the_terminal_table_has_the_modes_at_every_width(modes_study, name, width):
    text = StringIO()
    show(Console(file=text, width=width), compare_runs(read_runs([modes_study / name])))
    lines = [line.rstrip() for line in text.getvalue().split("Peak memory")[0].splitlines()]
    table = "\n".join(lines[: next(k for k, line in enumerate(lines[2:], 2) if not line)])
    assert max(map(len, table.splitlines())) <= width
    assert "…" not in table
    for word in ("modes ↑", "reverse", "perfect sampler", "computed"):
        assert word in table
    assert ("mlp_gan ⚠" in table) == (name == "ring8")


def test_high_quality_is_never_best(ring):
    cells = columns(ring)
    assert cells["modes ↑"][:2] == ["**8 ± 0**", "7.0 ± 1.0"]
    assert cells["reverse KL (nats) ↓"][:2] == ["**0.0067 ± 0.0000**", "0.133 ± 0.000"]
    assert cells["high quality (%)"][:2] == ["94.14 ± 0.05", "97.60 ± 0.53"]


def test_the_perfect_sampler_stands_below_what_was_measured(ring):
    row = columns(ring)["model"].index(PERFECT_LABEL)
    assert row == len(ring.entries)
    for heading, text in (("modes ↑", "8"), ("high quality (%)", "98.89")):
        assert columns(ring)[heading][row] == text
    assert any("98.89 % means too little variance" in sentence for sentence in mode_sentences(ring))


def test_published_figures_share_no_column_with_measured_ones(ring):
    cells = columns(ring)
    rows = [k for k, text in enumerate(cells["published: modes"]) if text != "–"]
    labels = [cells["model"][k] for k in rows]
    assert labels == ["GAN (PacGAN's run)", "PacGAN4 (PacGAN's run)"]
    for heading, texts in cells.items():
        if heading.startswith("published"):
            assert all(text == "–" for k, text in enumerate(texts) if k not in rows)
        elif heading != "model":
            assert all(texts[k] == "–" for k in rows)
    assert [cells["published: high quality (%)"][k] for k in rows] == ["98.2", "95.9"]


def test_published_figures_are_those_of_the_papers(make_run):
    row = {"reverse_kl": 0.3, "modes": 900, "fid_domain": 2.0}

    def figures(dataset: str, samples: int) -> list[dict[str, str]]:
        protocol = STACKED | {"samples": samples}
        path = make_run("dcgan", samples, {"generator": row}, dataset=dataset, protocol=protocol)
        return published(compare_runs(read_runs([path])))

    found = {(r["system"], r["source"]): r["modes"] for r in figures("stacked_mnist", 26_000)}
    assert found["DCGAN", "VEEGAN's run"] == "99"
    assert found["DCGAN", "PacGAN's run"] == "78.9"
    assert len(found) == 9
    assert figures("stacked_mnist", 10_000) == []  # reverse KL depends on the number of samples
    assert figures("stacked_digits", 26_000) == []


def test_a_data_set_without_published_figures_has_no_such_columns(make_run):
    row = {"reverse_kl": 0.3, "modes": 900, "fid_domain": 2.0}
    path = make_run("dcgan", 0, {"generator": row}, dataset="stacked_digits")
    table = mode_table(compare_runs(read_runs([path])))
    assert table.headings == ("model", "sampler", "seeds", "modes ↑", "reverse KL (nats) ↓")
    assert len(table.rows) == 1


def test_the_error_of_the_classifier_is_told(modes_study):
    comparison = compare_runs(read_runs([modes_study / "stacked_mnist"]))
    assert any("misclassifies 0.93 % of held-out" in text for text in mode_sentences(comparison))
    headings = mode_table(comparison).headings
    assert not any("high quality" in heading for heading in headings)


def test_what_was_not_measured_has_no_column(ring):
    headings = main_table(ring).headings
    assert not any(heading.startswith(("IS", "modes", "class")) for heading in headings)
    assert "FID (identity) ↓" in headings


def test_images_made_elsewhere_have_neither_nfe_nor_cost(modes_study):
    (section,) = cli.make_sections(
        [compare_runs(read_runs([modes_study / "ring8"]))], folder="ring8", one_data_set=True
    )
    text = page("ring8", [section], "x")
    assert "come last and are never marked best: `real`, `samples`. Held-out data" in text
    assert "Samples without NFE were made elsewhere" in text
    costs = text.split("## Cost")[1].split("##")[0].splitlines()
    (row,) = (line for line in costs if line.startswith("| samples"))
    assert {cell.strip() for cell in row.split("|")[4:-1]} == {"–"}
