"""A watched page in the reader's browser: reloaded in the same place, and with its age."""

import re
import time
from pathlib import Path

import numpy as np
import pytest
from map_runs import power, write_map
from PIL import Image
from synthetic_runs import costs, scores, write_run

from bench.compare.cli import gather
from bench.compare.watch import Watch, Watcher
from bench.runs.directory import Status

DESKTOP, PHONE = {"width": 1280, "height": 700}, {"width": 375, "height": 700}
HEADER = "step,images,train_seconds,key,value\n"
NAME = "<b onclick='x'>m</b>"


def run(folder: Path, model: str, seed: int, state: str = "running") -> None:
    status = Status(state, command="python -m bench")  # type: ignore[arg-type]
    spent = {"images": 640, "train_seconds": 2.5, "step": 10}
    rows = {"generator": scores(20.0 + seed) | costs(1, 0.5) | spent | {"warning": NAME}}
    ends = 4 if state == "running" else 1
    path = write_run(folder, model, seed, rows, status=status, checkpoints=ends)
    lines = [f"{k},{64 * k},{k / 4},{NAME}/loss,{k % 5}\n" for k in range(1, 40)]
    (path / "train.csv").write_text(HEADER + "".join(lines))
    (path / "samples").mkdir(exist_ok=True)
    pixels = np.full((64, 64), 9 * seed, dtype=np.uint8)
    Image.fromarray(pixels).save(path / "samples" / "checkpoint=1_generator.png")


@pytest.fixture
def every() -> float:
    """Seconds between two versions of the page."""
    return 60


@pytest.fixture
def watcher(tmp_path, every) -> Watcher:
    """What watches six runs that go on and six that have ended; its page is written."""
    for seed in range(6):
        run(tmp_path, "mlp_gan", seed)
    for seed in range(3):
        run(tmp_path, "dcgan_small", seed, "finished")
        run(tmp_path, "ddpm_small", seed, "finished")
    paths = [tmp_path / "runs"]
    watched = Watch(paths, tmp_path / "out", "x", every, lambda: gather(paths, mixed=(), name=None))
    made = Watcher(watched)
    made.update()
    return made


@pytest.fixture
def page(request, browser, watcher):
    """The page, opened; an error of its scripts fails the test."""
    context = browser.new_context(viewport=getattr(request, "param", DESKTOP), offline=True)
    opened, errors = context.new_page(), []
    opened.on("console", lambda m: errors.append(m.text) if m.type in ("error", "warning") else 0)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(watcher.file.as_uri())
    yield opened
    context.close()
    assert errors == []


on_both = pytest.mark.parametrize("page", [DESKTOP, PHONE], ids=["desktop", "phone"], indirect=True)


def begin_a_run(watcher: Watcher) -> None:
    """Another run, above all others in the page, so that everything else moves down."""
    run(watcher.file.parents[2], "a_gan", 0)
    assert watcher.update()


@on_both
def test_a_reload_keeps_the_readers_place_in_a_page_that_has_grown(page, watcher):
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    heading = page.locator("section#data-digits h2")
    heading.scroll_into_view_if_needed()
    page.evaluate("scrollBy({ top: 250, behavior: 'instant' })")
    fold = page.locator("details.topic:not([open])").first
    name = fold.locator("summary").inner_text()
    fold.evaluate("fold => (fold.open = true)")
    page.locator(".table input").nth(1).fill("dcgan")
    page.locator("#theme").click(force=True) if page.viewport_size == DESKTOP else None
    page.evaluate("document.querySelector('#data-digits h2').scrollIntoView({behavior: 'instant'})")
    assert page.evaluate("scrollY") > 500
    before = heading.bounding_box()
    theme = page.evaluate("document.documentElement.dataset.theme")
    height = page.evaluate("document.documentElement.scrollHeight")
    begin_a_run(watcher)
    page.reload()
    assert page.locator("article.live").count() == 7
    assert page.evaluate("document.documentElement.scrollHeight") > height + 200
    assert heading.bounding_box()["y"] == pytest.approx(before["y"], abs=3)
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    opened = page.locator("details.topic[open] summary").all_inner_texts()
    assert name in opened
    assert page.locator(".table input").nth(1).input_value() == "dcgan"


def two_sizes(folder: Path, budgets: tuple[float, ...]) -> None:
    laws = {"gan_r1_ema_small": power(3, 0.2), "v_diffusion_small": power(9, 0.5)}
    write_map(folder, laws, dataset="shapes_8", shape="1x8x8", budgets=budgets)
    write_map(folder, laws, dataset="shapes_16", shape="1x16x16", budgets=budgets)


def test_a_reload_keeps_what_was_chosen_on_the_map(browser, tmp_path):
    """One more budget moves the places of the sliders, and not what they say."""
    two_sizes(tmp_path, (15.0, 30.0))
    mixed, paths = ("train_images", "budget"), [tmp_path / "runs"]
    watched = Watch(paths, tmp_path / "out", "x", 60, lambda: gather(paths, mixed=mixed, name=None))
    watcher = Watcher(watched)
    watcher.update()
    page = browser.new_page()
    page.goto(watcher.file.as_uri())
    page.get_by_label("Image size").select_option(index=0)
    page.locator("#map .switch button", has_text="10 ms").click()
    page.get_by_role("slider", name="Training time").press("Home")
    page.get_by_role("slider", name="Price per sample").press("ArrowLeft")
    chosen = page.locator("#map output").all_inner_texts()
    assert "8×8" in page.locator("#map .found").inner_text()
    assert page.locator("#map output").nth(0).inner_text() == "7.5 s"
    two_sizes(tmp_path, (7.5, 15.0, 30.0))
    assert watcher.update()
    page.reload()
    assert page.locator("#map .squares").first.locator("th").count() == 1 + 3 + 1
    assert page.locator("#map output").all_inner_texts() == chosen
    assert (
        "Nearest measured: 7.5 s, all images, shapes, 8×8."
        in page.locator("#map .found").inner_text()
    )
    pressed = page.locator("#map .switch button[aria-pressed=true]").all_inner_texts()
    assert any("10 ms" in text for text in pressed)
    page.close()


def test_a_reload_finds_the_panel_the_runs_and_the_stop_that_were_chosen(browser, tmp_path):
    """Another kind of budget gives the panels new titles; another row has further prices."""
    laws = {"gan_r1_ema_small": power(3, 0.2), "v_diffusion_small": power(9, 0.5)}
    shape = {"dataset": "shapes_8", "shape": "1x8x8", "seeds": range(3)}
    for limit in ("seconds={}", "seconds={},clock=nominal"):
        write_map(tmp_path, laws, limit=limit, **shape)
    write_map(tmp_path, laws, dataset="shapes_16", seeds=range(3))
    paths = [tmp_path / "runs"]
    axes = ("train_images", "image_shape", "budget")
    watched = Watch(paths, tmp_path / "out", "x", 60, lambda: gather(paths, mixed=axes, name=None))
    watcher = Watcher(watched)
    watcher.update()
    page = browser.new_page()
    page.goto(watcher.file.as_uri())
    page.get_by_label("Image size").select_option(label="shapes, 8×8")
    page.locator("#map .runs select").select_option(label="all images (runs of 2 min)")
    price = page.get_by_role("slider", name="Price per sample")
    for key in ("Home", *8 * ["ArrowRight"]):
        price.press(key)
    assert price.get_attribute("aria-valuetext") == "0.3 ms or less"
    write_map(tmp_path, laws, limit="images={}", **shape)
    faster = {"gan_r1_ema_small": {"latency_ms": 0.298}}
    write_map(tmp_path, laws, images="250", more=faster, **shape)
    assert watcher.update()
    page.reload()
    said = page.locator("#map .found").inner_text()
    assert "all images (runs of 2 min), shapes, 8×8, by time of training." in said
    assert price.get_attribute("aria-valuetext") == "0.3 ms or less"
    assert float(price.get_attribute("data-amount")) == 0.3
    page.close()


def test_a_page_that_is_opened_anew_begins_at_its_top(page, watcher):
    page.evaluate("scrollTo({ top: 900, behavior: 'instant' })")
    page.goto("about:blank")
    page.goto(watcher.file.as_uri())
    assert page.evaluate("scrollY") == 0


soon = pytest.mark.parametrize("every", [4])
"""Marks tests of a page that is reloaded soon after the reader last did something."""


@soon
def test_it_reloads_by_itself_and_not_while_it_is_paused(page, watcher):
    page.locator("#pause").click()
    begin_a_run(watcher)
    page.wait_for_timeout(8_000)
    assert page.locator("article.live").count() == 6
    assert "(paused)" in page.locator("#age").inner_text()
    with page.expect_navigation():
        page.locator("#pause").click()
    assert page.locator("article.live").count() == 7


@soon
def test_an_enlarged_picture_is_not_closed_by_a_reload(page, watcher):
    page.locator("#in-progress .zoom").first.click()
    begin_a_run(watcher)
    page.wait_for_timeout(8_000)
    assert page.locator("dialog#enlarged").is_visible()
    assert "while a picture is enlarged" in page.locator("#age").inner_text()
    with page.expect_navigation():
        page.keyboard.press("Escape")


def test_it_says_its_age(page):
    assert re.fullmatch(r"Written \d+ s ago", page.locator("#age").inner_text())
    assert re.search(r"\d+ s ago", page.locator("#in-progress tbody tr").first.inner_text())


def test_it_says_when_it_is_stale(page, watcher, monkeypatch):
    now = time.time()
    monkeypatch.setattr("bench.compare.watch.time.time", lambda: now - 200)
    begin_a_run(watcher)
    page.reload()
    said = page.locator("#age.stale").inner_text()
    assert said.startswith("Written 3 min ago: nothing has changed since, or the command")


@on_both
def test_figures_and_samples_of_unfinished_runs_are_drawn(page):
    part = page.locator("#in-progress")
    charts = part.locator(".chart")
    assert charts.count() == 7  # FID so far, and the losses of six runs
    for chart in charts.all():
        chart.scroll_into_view_if_needed()
        chart.locator(".plot.drawn .main-svg").first.wait_for()
        assert chart.locator("path.js-line").count() > 0
    assert part.locator("article.live img").count() == 6
    assert page.locator("b[onclick]").count() == 0
    assert NAME in part.inner_text()
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(set(ids)) == len(ids)
