"""The map as a reader's browser has it: sliders, cells, switches, narrow windows, dark colours."""

from pathlib import Path

import pytest
from map_runs import power, write_map

from bench.compare.cli import main

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 800}
LAWS = {
    "gan_r1_ema_small": power(3, 0.2),
    "v_diffusion_small": power(9, 0.5),
    "rectified_flow_small": power(12, 0.5),
    "dcgan_small": power(15, 0.2),
    "ddpm_small": power(5, 0.2),
}
"""Of the flagships the GAN is ahead everywhere; of the plain models the diffusion model."""

on_both = pytest.mark.parametrize("page", [DESKTOP, PHONE], ids=["desktop", "phone"], indirect=True)


@pytest.fixture(scope="module")
def two_sizes(tmp_path_factory) -> Path:
    """A report of two sizes; the smaller one has rows of 250 and of all 1,437 images."""
    folder = tmp_path_factory.mktemp("sizes")
    short = (15.0, 30.0, 60.0)
    write_map(folder, LAWS, images="250", budgets=short, dataset="shapes_8", shape="1x8x8")
    write_map(folder, LAWS, dataset="shapes_8", shape="1x8x8")
    runs = write_map(folder, LAWS, dataset="shapes_16", shape="1x16x16", budgets=short)
    mixed = ["--allow-mixed", "train_images", "--allow-mixed", "budget"]
    assert main([str(runs), "--out", str(folder / "out"), *mixed]) == 0
    return folder / "out" / "report" / "index.html"


@pytest.fixture
def page(request, browser, two_sizes):
    """The page, opened without a network; whatever goes wrong while a test runs fails it."""
    context = browser.new_context(viewport=getattr(request, "param", DESKTOP), offline=True)
    opened = context.new_page()
    errors = []
    opened.on("console", lambda m: errors.append(m.text) if m.type in ("error", "warning") else 0)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(two_sizes.as_uri())
    yield opened
    context.close()
    assert errors == []


def test_it_stands_between_the_answer_and_the_comparisons(page):
    ids = page.locator("main > section").evaluate_all("all => all.map((one) => one.id)")
    assert ids[:2] == ["answer", "map"]
    assert len(ids) > 4
    page.get_by_role("link", name="Who is ahead where").click()
    assert page.locator("#map h2").is_visible()


def slider(page, name: str):
    return page.get_by_role("slider", name=name)


def found(page) -> str:
    """What stands below the sliders."""
    return page.locator(".found").inner_text()


def choose(page, size: str) -> None:
    page.get_by_label("Image size").select_option(label=size)


def test_it_starts_with_the_largest_size_and_budget(page):
    text = found(page)
    assert "Nearest measured: 1 min, all images, shapes, 16×16." in text
    assert "With 1 min of training and all images, the GAN is ahead of the diffusion model" in text
    assert "Outside" not in text


@on_both
def test_sliders_are_moved_by_the_keyboard(page):
    choose(page, "shapes, 8×8")
    assert "Nearest measured: 2 min, all images" in found(page)
    slider(page, "Training images").focus()
    page.keyboard.press("Home")
    text = found(page)
    assert "Nearest measured: 1 min, 250 images, shapes, 8×8." in text
    assert "models were trained on 250 images to all images" in text
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    assert slider(page, "Training images").get_attribute("aria-valuetext") == "250"
    assert "models were trained on" not in found(page)
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Home")  # of the training time
    assert "training time was 15 s to 1 min with 250 images" in found(page)
    assert "With 15 s of training and 250 images, the GAN is ahead" in found(page)
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    assert "Outside" not in found(page)
    assert page.locator(".sliders output").first.inner_text() == "15 s"


def test_a_budget_behind_the_end_of_a_row_is_outside(page):
    choose(page, "shapes, 8×8")
    slider(page, "Training time").focus()
    page.keyboard.press("End")
    assert "training time was 15 s to 2 min with all images" in found(page)
    assert "With 2 min of training and all images" in found(page)


def test_a_price_is_looked_up_at_the_largest_one_that_it_admits(page):
    price = slider(page, "Price per sample")
    assert price.get_attribute("aria-valuetext") == "any"
    price.focus()
    shown = {}
    for _ in range(int(price.get_attribute("max"))):
        page.keyboard.press("ArrowLeft")
        shown[price.get_attribute("aria-valuetext")] = found(page)
    assert "at up to 40 ms per sample, the GAN is ahead" in shown["40 ms or less"]
    assert "at up to 30 ms per sample, the GAN is ahead" in shown["30 ms or less"]
    alone = shown["0.3 ms or less"]
    assert (
        "at up to 0.300 ms per sample, the GAN (gan_r1_ema_small, generator) stands alone" in alone
    )
    cheapest = found(page)
    assert (
        "With all images, no model that stands for a family takes 0.15 ms or less for a sample."
        in cheapest
    )
    assert "no sampler is as cheap with all images" in cheapest
    assert "Outside of what was measured" in cheapest
    assert "settled" not in cheapest
    assert len({text for text in shown.values() if "no model" not in text}) == 4  # thresholds


def test_the_cell_at_the_chosen_budget_is_marked_in_its_table(page):
    choose(page, "shapes, 8×8")
    marked = page.locator(".group:not([hidden]) .of-price:not([hidden]) .here")
    assert marked.count() == 1
    assert marked.get_attribute("data-place") == "0 1 3"
    slider(page, "Training time").focus()
    page.keyboard.press("Home")
    assert marked.get_attribute("data-place") == "0 1 0"


def squares(page, place: str):
    """The visible cell of a panel, row and column."""
    return page.locator(f'[data-place="{place}"]:visible')


@on_both
def test_cells_say_their_sentence_when_chosen(page):
    said = page.locator(".said:visible")
    assert said.all_inner_texts() == ["Choose a cell to read what it says."] * 2
    squares(page, "0 1 0").click()
    assert said.nth(0).inner_text().startswith("With 15 s of training and all images, the GAN is")
    assert said.nth(1).inner_text() == "Choose a cell to read what it says."
    squares(page, "1 0 2").hover()
    assert said.nth(1).inner_text().startswith("With 1 min of training and all images, the GAN is")
    squares(page, "0 0 3").click()
    assert said.nth(0).inner_text().endswith("Runs with 250 images end at 1 min.")


def test_arrow_keys_move_between_cells(page):
    first = squares(page, "0 0 0")
    first.focus()
    assert (
        page.locator(".said:visible").first.inner_text().startswith("With 15 s of training and 250")
    )
    for key in ("ArrowRight", "ArrowDown", "ArrowUp", "ArrowUp", "ArrowDown"):
        page.keyboard.press(key)
    focused = page.evaluate("document.activeElement.dataset.place")
    assert focused == "0 1 1"
    assert (
        page.locator(".said:visible").first.inner_text().startswith("With 30 s of training and all")
    )
    page.keyboard.press("Tab")  # one stop for each table
    assert page.evaluate("document.activeElement.dataset.place") == "1 0 0"


def test_the_price_swaps_the_cells(page):
    any_price, ten, one = (
        page.get_by_role("group", name="Price per sample").get_by_role("button").all()
    )
    assert any_price.get_attribute("aria-pressed") == "true"
    squares(page, "0 1 0").click()
    assert "×" in squares(page, "0 1 0").inner_text()
    one.click()
    assert one.get_attribute("aria-pressed") == "true"
    assert any_price.get_attribute("aria-pressed") == "false"
    assert squares(page, "0 1 0").inner_text().split() == ["GAN", "alone"]
    assert page.locator(".said:visible").first.inner_text() == "Choose a cell to read what it says."
    ten.click()
    assert squares(page, "0 1 0").inner_text().startswith("GAN\n×")
    any_price.click()
    assert page.locator(".of-price:visible").count() == 2


def test_the_group_swaps_cells_and_sliders(page):
    plain = page.get_by_role("button", name="plain DCGAN and DDPM")
    choose(page, "shapes, 8×8")
    plain.click()
    assert plain.get_attribute("aria-pressed") == "true"
    assert squares(page, "0 1 0").inner_text().startswith("diffusion model\n×")
    text = found(page)
    assert "shapes, 8×8" in text
    assert "the diffusion model is ahead of the GAN" in text
    page.get_by_role("button", name="one model of each family").click()
    assert squares(page, "0 1 0").inner_text().startswith("GAN\n×")


@on_both
def test_nothing_is_wider_than_the_window(page):
    page.evaluate("document.querySelectorAll('#map details').forEach(fold => (fold.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    boxes = page.locator(".squares button:visible").evaluate_all(
        "all => all.map(b => [b.scrollWidth - b.clientWidth, b.scrollHeight - b.clientHeight])"
    )
    assert boxes
    assert max(max(box) for box in boxes) <= 0  # no word is cut off


CONTRAST = """
() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const light = (color) => {
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((x) => x / 255)
      .map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const clear = 'rgba(0, 0, 0, 0)';
  const behind = (node) => {
    const color = getComputedStyle(node).backgroundColor;
    return color === clear ? behind(node.parentElement) : color;
  };
  return ['settled', 'open', 'equal', 'alone', 'nobody', 'empty'].flatMap((state) =>
    [0, 1, 2, 3, 4].map((family) => {
      const square = document.querySelector('.squares button');
      square.className = `${state} family-${family}`;
      const [a, b] = [light(getComputedStyle(square).color), light(behind(square))];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    }),
  );
}
"""
"""Contrast of the text of cells of every state and family."""


def test_cells_can_be_read_in_light_and_dark(page):
    backgrounds = []
    for _ in range(2):
        assert min(page.evaluate(CONTRAST)) >= 4.5
        square = page.locator(".legend .settled:visible").first
        backgrounds.append(square.evaluate("node => getComputedStyle(node).backgroundColor"))
        page.locator("#theme").click()
    assert backgrounds[0] != backgrounds[1]


def test_without_scripts_the_tables_can_be_read(browser, two_sizes):
    context = browser.new_context(java_script_enabled=False, offline=True)
    opened = context.new_page()
    opened.goto(two_sizes.as_uri())
    assert opened.locator(".squares:visible").count() == 2
    assert not opened.locator(".at-budget").is_visible()
    context.close()


def test_what_assistive_technology_is_told(page):
    assert page.locator(".found").get_attribute("aria-live") == "polite"
    for name in ("Training time", "Training images", "Price per sample"):
        assert slider(page, name).get_attribute("aria-valuetext")
    assert page.get_by_role("grid").count() == 2  # those that are shown
    cell = squares(page, "0 1 0")
    assert cell.get_attribute("aria-label").startswith("GAN ×")
    assert cell.get_attribute("aria-label").endswith(", settled")


@pytest.fixture(scope="module")
def two_clocks(tmp_path_factory) -> Path:
    """A report of two rows of all images, of seconds by the clock and of nominal ones."""
    folder = tmp_path_factory.mktemp("clocks")
    write_map(folder, LAWS, images="250", seeds=range(3))
    write_map(folder, LAWS, seeds=range(3))
    turned = {"gan_r1_ema_small": power(9, 0.2), "v_diffusion_small": power(3, 0.5)}
    runs = write_map(folder, turned, seeds=range(3), limit="seconds={},clock=nominal")
    assert main([str(runs), "--out", str(folder / "out"), "--map"]) == 0
    return folder / "out" / "report" / "index.html"


@on_both
def test_one_of_several_rows_of_as_many_images_can_be_chosen(page, two_clocks):
    assert not page.locator("#map .runs select").is_visible()  # this page has no such rows
    page.goto(two_clocks.as_uri())
    clock, nominal = "all images (runs of 2 min)", "all images (runs of 2 min, nominal)"
    runs = page.locator("#map .runs select")
    assert runs.locator("option").all_inner_texts() == [clock, nominal]
    first = "With 2 min of training and all images (runs of 2 min, nominal), the diffusion model"
    assert first.lower() in page.locator("#answer").inner_text().lower()
    assert first in found(page)
    runs.focus()
    page.keyboard.press("ArrowUp")
    assert f"Nearest measured: 2 min, {clock}, " in found(page)
    assert f"With 2 min of training and {clock}, the GAN" in found(page)
    assert page.locator(".here:visible").get_attribute("data-place") == "0 1 3"
    slider(page, "Training time").press("Home")
    assert f"With 15 s of training and {clock}, the GAN" in found(page)
    slider(page, "Training images").press("End")
    assert f"Nearest measured: 15 s, {clock}, " in found(page)
    assert "models were trained on 250 images to all images" in found(page)
    slider(page, "Training images").press("Home")
    assert "Nearest measured: 15 s, 250 images, " in found(page)
    assert runs.is_disabled()
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
