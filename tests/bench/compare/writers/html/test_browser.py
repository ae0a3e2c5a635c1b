"""The report as a reader's browser has it: no errors, sorted, filtered, drawn, nothing run."""

import re

import pytest

PHONE = {"width": 375, "height": 700}
DESKTOP = {"width": 1280, "height": 900}


on_both = pytest.mark.parametrize("page", [DESKTOP, PHONE], ids=["desktop", "phone"], indirect=True)
"""Marks tests of what depends on the width of the window."""


@pytest.fixture
def page(request, browser, report):
    """The page, opened; whatever goes wrong while a test runs fails it."""
    context = browser.new_context(viewport=getattr(request, "param", DESKTOP), offline=True)
    opened = context.new_page()
    errors, asked = [], []
    opened.on("console", lambda m: errors.append(m.text) if m.type in ("error", "warning") else 0)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("dialog", lambda dialog: (errors.append("dialog"), dialog.dismiss()))
    opened.on("request", lambda r: asked.append(r.url))
    opened.goto(report.as_uri())
    yield opened
    context.close()
    assert errors == []
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [report.as_uri()]


def quality(page):
    """The first table of the comparison."""
    return page.locator("section#data-digits .table").first


def column(table, heading: str) -> list[str]:
    """A column's cells as the reader sees them."""
    headings = table.locator("thead th").all_inner_texts()
    k = next(k for k, text in enumerate(headings) if text.startswith(heading))
    shown = [row for row in table.locator("tbody tr").all() if row.is_visible()]
    return [row.locator("th, td").nth(k).inner_text() for row in shown]


def values(table, heading: str) -> list[float]:
    return [float(text.split()[0]) for text in column(table, heading) if text[0].isdigit()]


def test_text_from_runs_is_shown_and_never_run(page):
    assert page.title() == "GAN or diffusion?"
    assert page.locator("body script:not([type])").count() == 4  # the page's own
    loaded = page.locator("head script").all_text_contents()  # once a figure is near
    assert all(text.startswith("/**\n* plotly.js") for text in loaded)
    assert page.locator("img[src=x]").count() == 0
    assert "<script>document.title='taken'</script>" in page.locator("body").text_content()


@on_both
def test_it_is_no_wider_than_the_window(page):
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]


@on_both
def test_headings_sort_by_value_and_back(page):
    table = quality(page)
    before = column(table, "model")
    button = table.locator("thead button", has_text="FID").first
    button.click()
    ascending = values(table, "FID")
    assert ascending == sorted(ascending)
    assert len(set(ascending)) > 3
    button.click()
    assert values(table, "FID") == ascending[::-1]
    assert not column(table, "FID")[-1][0].isdigit()  # a run without a value stays last
    button.click()
    assert column(table, "model") == before


def test_headings_sort_from_the_keyboard_and_say_so(page):
    heading = quality(page).locator("thead th", has_text="recall")
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"  # more is better


def test_rows_are_filtered_by_all_words(page):
    table = quality(page)
    field = table.locator("input[type=search]")
    whole = column(table, "model")
    field.fill("DDPM ddim-10")
    assert sorted(column(table, "model")) == ["cond_ddpm_small", "ddpm_small"]
    assert table.locator("output").inner_text() == f"2 of {len(whole)} rows"
    field.fill("")
    assert column(table, "model") == whole


@on_both
def test_every_figure_is_drawn_with_every_view(page):
    charts = page.locator(".chart")
    titles = charts.locator("h4, figcaption, .title").all_inner_texts()
    assert charts.count() >= 5, titles
    for chart in charts.all():
        chart.scroll_into_view_if_needed()
        chart.locator(".plot.drawn .main-svg").first.wait_for()
        for button in [None, *chart.locator(".switch button").all()]:
            if button is not None:
                button.click()
                assert button.get_attribute("aria-pressed") == "true"
            marks = chart.locator(".points path, path.js-line, .bars path")
            assert marks.count() > 0


def test_the_theme_changes_page_and_figures(page):
    chart = page.locator(".chart").first
    chart.scroll_into_view_if_needed()
    chart.locator(".plot.drawn .main-svg").first.wait_for()
    tick = chart.locator(".xtick text").first
    before = (
        page.evaluate("getComputedStyle(document.body).backgroundColor"),
        tick.evaluate("node => getComputedStyle(node).fill"),
    )
    page.locator("#theme").click()
    after = (
        page.evaluate("getComputedStyle(document.body).backgroundColor"),
        chart.locator(".xtick text").first.evaluate("node => getComputedStyle(node).fill"),
    )
    assert before[0] != after[0]
    assert before[1] != after[1]


def test_verdicts_are_chosen_by_kind(page):
    cards = page.locator(".claim")
    button = page.locator(".balance button").first
    count = int(re.search(r"\d+", button.inner_text()).group())
    button.click()
    shown = [card for card in cards.all() if card.is_visible()]
    assert len(shown) == count
    assert {card.get_attribute("data-verdict") for card in shown} == {
        button.get_attribute("data-verdict")
    }
    button.click()
    assert all(card.is_visible() for card in cards.all())


def test_links_of_the_page_lead_to_something(page):
    broken = page.evaluate(
        """() => [...document.querySelectorAll('a[href^="#"]')].map(a => a.hash.slice(1))
              .filter(id => !document.getElementById(id))"""
    )
    assert broken == []
    assert page.locator('.claim a[href^="#data-digits--row"]').count() > 0


@on_both
def test_pictures_are_in_the_page_and_can_be_enlarged(page):
    images = page.locator("section#data-digits .gallery img")
    assert images.count() >= 10  # samples and trajectories of seven samplers, one damaged
    assert "is unreadable: 1 picture." in page.locator("section#data-digits").text_content()
    images.first.scroll_into_view_if_needed()
    assert images.first.evaluate("i => i.decode().then(() => i.naturalWidth)") == 64
    page.locator(".zoom").first.click()
    assert page.locator("dialog#enlarged img").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("dialog#enlarged").is_visible()


def test_samples_side_by_side_stand_on_the_first_screen(page):
    boxes = [box.bounding_box() for box in page.locator(".strip figure").all()]
    assert len(boxes) == 3  # real, GAN, diffusion model
    assert max(box["y"] + box["height"] for box in boxes) <= page.viewport_size["height"]
    assert len({box["y"] for box in boxes}) == 1


@on_both
def test_a_strip_shows_a_part_of_a_picture_and_the_gallery_all_of_it(page):
    held = page.locator(".strip img")
    assert held.count() == 2
    for image in held.all():
        image.scroll_into_view_if_needed()
        frame = image.locator("xpath=..").bounding_box()
        assert image.bounding_box()["width"] == pytest.approx(2 * frame["width"], abs=6)
        assert frame["width"] == pytest.approx(frame["height"], abs=4)
        assert frame["x"] + frame["width"] <= page.viewport_size["width"]
        same = page.locator(f'.gallery img[data-same="{image.get_attribute("id")}"]')
        assert same.evaluate("i => i.decode().then(() => i.naturalWidth)") == 64
        assert same.get_attribute("src") == image.get_attribute("src")
    held.first.locator("xpath=..").focus()
    page.keyboard.press("Enter")
    enlarged = page.locator("dialog#enlarged img")
    assert enlarged.is_visible()
    assert enlarged.get_attribute("id") is None
    page.keyboard.press("Escape")


@on_both
def test_printed_every_fold_is_open_and_every_figure_fits_the_paper(page):
    folds = page.locator("main details:not([open])")
    folded = folds.count()
    assert page.locator(".claim details:not([open])").count() > 0
    before = page.locator(".plot").evaluate_all("all => all.map(plot => plot.clientWidth)")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert folds.count() == 0
    assert page.locator(".plot:not(.drawn)").count() == 0
    assert set(drawn_widths(page)) == {640}
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert folds.count() == folded
    assert drawn_widths(page) == pytest.approx(before, abs=1)
    if page.viewport_size == DESKTOP:
        assert page.pdf().startswith(b"%PDF")


def drawn_widths(page) -> list[int]:
    """How wide figures are drawn, whatever their boxes hide of them."""
    widths = "all => all.map(plot => plot.querySelector('.main-svg').clientWidth)"
    return page.locator(".plot").evaluate_all(widths)


def test_printed_nothing_is_left_out_that_was_filtered(page):
    rows = quality(page).locator("tbody tr")
    quality(page).locator("input[type=search]").fill("ddim-10")
    page.locator(".balance button").last.click()
    assert not all(row.is_visible() for row in rows.all())
    page.emulate_media(media="print")
    assert all(row.is_visible() for row in rows.all())
    assert all(card.is_visible() for card in page.locator(".claim").all())


@on_both
def test_printed_nothing_is_wider_than_the_paper(page):
    page.set_viewport_size({"width": 688, "height": 1000})  # A4 within its margins
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.scrollWidth") <= 688  # or all of it is shrunk


def test_cells_with_units_and_words_sort_by_their_size(page):
    table = page.locator(".table", has=page.locator("th", has_text="per sample")).filter(
        has=page.locator("th", has_text="samples generated")
    )
    page.evaluate("document.querySelectorAll('main details').forEach(fold => (fold.open = true))")
    for heading in ("quality", "samples generated", "training", "per sample"):
        table.locator("thead button", has_text=heading).click()
        keys = sort_keys(table, heading)
        assert len(set(keys)) > 1
        assert keys == sorted(keys)
    assert "ms" in " ".join(column(table, "per sample"))


def sort_keys(table, heading: str) -> list[float]:
    headings = table.locator("thead th").all_inner_texts()
    k = next(k for k, text in enumerate(headings) if text.startswith(heading))
    return [
        float(row.locator("th, td").nth(k).get_attribute("data-key"))
        for row in table.locator("tbody tr").all()
    ]


def test_each_view_of_a_front_names_its_own(page):
    chart = page.locator(".chart", has_text="Cost of a sample")
    buttons, sentences = chart.locator(".switch button"), chart.locator(".of-view")
    assert buttons.count() == sentences.count() == 2
    for k in (0, 1, 0):
        buttons.nth(k).click()
        assert sentences.nth(k).inner_text().strip().startswith("On the line, the cheapest first: ")
        assert not sentences.nth(1 - k).is_visible()


def test_findings_lead_to_rows_and_runs(page):
    card = page.locator(".claim", has=page.locator('a[href^="#run-"]')).first
    card.locator("summary").first.click()
    link = card.locator('a[href^="#run-"]').first
    run = page.locator(link.get_attribute("href"))
    assert not run.is_visible()  # in a fold
    link.click()
    run.wait_for()
    assert run.is_visible()
    assert f"seed={link.inner_text()}" in run.inner_text()


@on_both
def test_what_assistive_technology_is_told(page):
    assert page.locator(".skip").get_attribute("href") == "#answer"
    toggle = page.locator("#theme")
    assert toggle.get_attribute("aria-pressed") is None
    for now, other in (("dark", "light"), ("light", "dark")):
        assert toggle.get_attribute("aria-label") == f"Switch to {now} colours"
        toggle.click()
        assert toggle.get_attribute("aria-label") == f"Switch to {other} colours"
    page.locator(".zoom").first.click()
    assert page.get_by_role("dialog", name="Enlarged picture").is_visible()
