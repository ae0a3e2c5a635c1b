"""When there is a map, and what its picture shows of long titles."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from map_runs import power, write_map

from bench.compare.cli import gather, main
from bench.compare.outputs import REPORT
from bench.compare.watch import Watch, Watcher
from bench.compare.writers.map import LETTERS, LINE

LAWS = {"gan_r1_ema_small": power(10, 0.2), "v_diffusion_small": power(12, 0.7)}


def has_map(folder: Path, *options: str) -> bool:
    """Whether the report of the runs in a folder has the map."""
    assert main([str(folder / "runs"), "--out", str(folder / "out"), *options]) == 0
    return '<section id="map">' in (folder / "out" / REPORT).read_text(encoding="utf-8")


def test_a_single_cell_is_shown_only_if_the_map_is_asked_for(tmp_path):
    write_map(tmp_path, LAWS, seeds=[0], budgets=(60.0,))
    assert not has_map(tmp_path)
    assert has_map(tmp_path, "--map")


def test_a_single_row_of_several_budgets_is_shown(tmp_path):
    write_map(tmp_path, LAWS, seeds=[0], budgets=(30.0, 60.0))
    assert has_map(tmp_path)


@pytest.mark.parametrize("mapped", [False, True])
def test_a_watched_page_has_a_map_of_a_single_cell_if_it_is_asked_for(tmp_path, mapped):
    paths = [write_map(tmp_path, LAWS, seeds=[0], budgets=(60.0,))]
    watched = Watch(
        paths, tmp_path, "x", 60, lambda: gather(paths, mixed=(), name=None), mapped=mapped
    )
    watcher = Watcher(watched)
    watcher.update()
    assert ('<section id="map">' in watcher.file.read_text(encoding="utf-8")) == mapped


def test_long_titles_of_rows_are_not_cut_off(tmp_path):
    for limit in ("seconds={}", "seconds={},clock=nominal"):
        write_map(tmp_path, LAWS, seeds=range(3), limit=limit)
    assert main([str(tmp_path / "runs"), "--map", "--out", str(tmp_path / "out")]) == 0
    root = ElementTree.parse(tmp_path / "out" / "map.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    titles = [text for text in root.iter(f"{space}text") if text.get("text-anchor") == "end"]
    words = " ".join(text.text or "" for text in titles)
    assert words == "all images (runs of 2 min) all images (runs of 2 min, nominal)"
    assert max(len(text.text or "") for text in titles) <= LETTERS
    (room,) = {float(text.get("x", 0)) for text in titles}
    assert room >= 7 * LETTERS  # pixels for a letter at 12 px
    cells = [box for box in root.iter(f"{space}rect") if box.get("rx") == "3"][2:]  # 2: the legend
    right = max(float(box.get("x", 0)) + float(box.get("width", 0)) for box in cells)
    assert right <= float(root.get("width", 0))
    assert min(float(box.get("height", 0)) for box in cells) == LINE - 2
