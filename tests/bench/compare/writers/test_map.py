"""The map's picture."""

import xml.etree.ElementTree as ElementTree

from map_runs import power, write_map

from bench.compare.cli import main
from bench.compare.writers.map import LETTERS, LINE

LAWS = {"gan_r1_ema_small": power(10, 0.2), "v_diffusion_small": power(12, 0.7)}


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
