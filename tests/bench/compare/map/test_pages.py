"""The map's files: Markdown, picture and CSV, and the commands that make a run again."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pandas as pd
import pytest
from map_runs import power, write_map

from bench.compare.cli import main

LAWS = {
    "gan_r1_ema_small": power(10, 0.2),
    "v_diffusion_small": power(12, 0.7),
    "dcgan_small": power(12, 0.1),
    "ddpm_small": power(30, 0.6),
}
SEEDS = range(6)


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """Two rows of a map."""
    folder = tmp_path_factory.mktemp("pages")
    for images in ("250", "all"):
        write_map(folder, LAWS, images=images, seeds=SEEDS)
    out = folder / "out"
    assert main([str(folder / "runs"), "--map", "--out", str(out)]) == 0
    return out


def test_the_page_has_the_answer_the_tables_and_the_plain_pair(out):
    page = (out / "map.md").read_text(encoding="utf-8")
    assert page.splitlines()[4].startswith(
        "On fashion_mnist, 16×16, with 2 min of training and all images, the diffusion model is "
        "ahead of the GAN: FID "
    )
    assert "held-out real images have 0.0850" in page
    rows = re.findall(r"\| (250 images|all images) \| (.*?) \|\n", page)
    assert [name for name, _ in rows] == ["250 images", "all images"] * 4  # three prices and plain
    assert rows[0][1].startswith("**GAN ×")
    assert rows[4][1].split(" | ")[-1].startswith("GAN alone")  # ≤ 1 ms: only the GAN
    plain = page.partition("## The documents' plain DCGAN and DDPM")[2]
    assert "**GAN ×" in plain.partition("## Where learning curves cross")[0]
    assert "the diffusion model overtakes the GAN after" in page


def test_prices_that_change_nothing_are_left_out(tmp_path):
    gans = {"gan_r1_ema_small": power(10, 0.2), "drifting_small": power(12, 0.3)}
    for images in ("250", "all"):
        write_map(tmp_path, gans, images=images, seeds=[0])
    assert main([str(tmp_path / "runs"), "--map", "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "map.md").read_text(encoding="utf-8")
    assert page.count("A sample at any price:") == 1
    assert "in 10 ms at most" not in page


def test_the_picture_is_an_image_with_a_word_in_every_cell(out):
    root = ElementTree.parse(out / "map.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    words = [text.text for text in root.iter(f"{space}text")]
    assert words.count("GAN") + words.count("diffusion") == 8 + 2  # cells and the legend
    assert {"15 s", "2 min", "250 images", "fashion_mnist, 16×16"} <= set(words)
    title = next(root.iter(f"{space}title")).text
    assert title.startswith("On fashion_mnist, 16×16")


def test_the_csv_has_every_family_of_every_cell(out):
    table = pd.read_csv(out / "map.csv")
    any_price = table[(table.models == "flagships") & ~(table.most_ms_per_sample < 1e9)]
    assert len(any_price) == 2 * 4 * 2
    first = any_price[(any_price.train_images == "all") & (any_price.budget == 120)]
    assert list(first.sort_values("rank").family) == ["diffusion model", "GAN"]
    assert (first.one_more_seed_low < first.fid).all()
    assert (first.fid < first.one_more_seed_high).all()


def test_commands_make_one_more_seed(out):
    page = (out / "map.md").read_text(encoding="utf-8")
    commands = re.findall("^python -m bench (.*)$", page, flags=re.MULTILINE)
    assert "model=v_diffusion_small dataset=fashion_mnist_16 seed=100" in commands
    assert len(commands) == 4


def test_a_single_row_has_files_only_if_asked(tmp_path):
    write_map(tmp_path, LAWS, seeds=[0])
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    assert not (tmp_path / "out" / "map.md").exists()
    assert main([str(tmp_path / "runs"), "--map", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "map.md").exists()


def test_without_a_rival_it_is_said_why_there_is_no_map(tmp_path, capsys):
    for images in ("250", "all"):
        write_map(tmp_path, {"gan_r1_ema_small": power(10, 0.2)}, images=images, seeds=[0])
    assert main([str(tmp_path / "runs"), "--map", "--out", str(tmp_path / "out")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "No map: it takes models of two families with a result at one budget." in said
    assert "only one family has a result (GAN)." in said


def test_the_page_says_who_cannot_be_ahead_and_why(tmp_path):
    collapsed = {"gan_r1_ema_small": {"warning": "only 2 of 10 modes"}}
    for images in ("250", "all"):
        write_map(tmp_path, LAWS, images=images, seeds=[0], more=collapsed)
    assert main([str(tmp_path / "runs"), "--map", "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "map.md").read_text(encoding="utf-8")
    assert "- 250 images: the samples of the GAN collapsed or are copies.\n" in page


def test_the_name_of_the_page_is_reserved(tmp_path, capsys):
    runs = write_map(tmp_path, LAWS, seeds=[0])
    assert main([str(runs), "--page", "map", "--out", str(tmp_path / "out")]) == 2
    assert "map.md is the page of the map: name another by --page NAME" in capsys.readouterr().err
