"""Reports in a real browser: every control works by pointer and by keys, in both themes.

Needs Chromium and Playwright; see `test_browser_pixels`.
"""

import numpy as np
from report_pages import frame, hover, sample_colour, seed_rect, text

import npgen


def test_the_fill_steps_play(page, case):
    steps = len(npgen.fill_order(*case.samples.images.shape[1:3], seed_rect(case), case.samples.config.window).pixels)
    page.select_option("#speed", "30")
    assert text(page, "#step-text") == f"{steps} of {steps}"
    page.locator("#play").click()
    page.wait_for_function(f"() => Number(scrub.value) > 3 && Number(scrub.value) < {steps}")
    assert text(page, "#play") == "Pause"
    page.locator("#play").click()
    frame(page)
    at = int(page.locator("#scrub").input_value())
    assert 3 < at < steps
    frame(page)
    assert int(page.locator("#scrub").input_value()) == at
    page.locator("#forward").click()
    frame(page)
    assert text(page, "#step-text") == f"{at + 1} of {steps}"
    # The current pixel is the one drawn last; later pixels are transparent.
    order = npgen.fill_order(*case.samples.images.shape[1:3], seed_rect(case), case.samples.config.window).pixels
    y, x = order[at].tolist()
    assert text(page, "#pixel-title") == f"Pixel {y}, {x}"
    later = order[-1].tolist()
    assert sample_colour(page, case, *later)[3] == 0
    page.locator("#scrub").focus()
    page.keyboard.press("End")
    frame(page)
    assert sample_colour(page, case, *order[0].tolist())[3] == 255
    page.select_option("#speed", "480")
    page.locator("#play").click()
    page.wait_for_function(f"() => Number(scrub.value) < {steps}")
    page.wait_for_function(f"() => scrub.value === '{steps}' && document.getElementById('play').textContent === 'Play'")


def test_reduced_motion_goes_ring_by_ring(opened, case):
    page = opened(reduced_motion="reduce")
    stages = case.payload["stages"]
    assert page.locator("#motion").is_visible()
    page.locator("#play").click()
    page.wait_for_function(f"() => document.getElementById('scrub').value === '{stages[1]}'")
    page.wait_for_function(f"() => document.getElementById('scrub').value === '{stages[2]}'")
    page.locator("#play").click()
    frame(page)
    assert text(page, "#play") == "Play"


def test_the_gallery_and_the_table_sort(page, case):
    order = "() => [...document.querySelectorAll('.thumb')].map((thumb) => Number(thumb.dataset.sample))"
    table = "() => [...document.querySelectorAll('#table tbody tr')].map((row) => Number(row.dataset.sample))"
    for column in case.payload["columns"]:
        values = np.array(column["values"])
        page.select_option("#sort", column["key"])
        frame(page)
        descending = np.argsort(-values, kind="stable").tolist()
        assert page.evaluate(order) == page.evaluate(table) == descending
        head = page.locator(f'th[data-key="{column["key"]}"]')
        assert head.get_attribute("aria-sort") == "descending"
        head.locator("button").click()
        frame(page)
        assert page.evaluate(order) == page.evaluate(table) == np.argsort(values, kind="stable").tolist()
        assert head.get_attribute("aria-sort") == "ascending"
    page.locator("#table tbody tr button").last.click()
    frame(page)
    assert text(page, "#sample-name") == str(page.evaluate(table)[-1])


def test_everything_works_by_keys(page, case):
    page.locator("#canvas").focus()
    hover(page, case, 5, 5)
    page.mouse.move(0, 0)
    for key, pixel in (
        ("ArrowRight", "5, 6"),
        ("ArrowDown", "6, 6"),
        ("Shift+ArrowLeft", "6, 0"),
        ("ArrowUp", "5, 0"),
        ("ArrowLeft", "5, 0"),
    ):
        page.keyboard.press(key)
        frame(page)
        assert text(page, "#pixel-title") == f"Pixel {pixel}"
    source = case.samples.trace.image_id[0, 5, 0]
    assert f"from image {source} at" in page.locator("#live").text_content()
    page.keyboard.press("Enter")
    frame(page)
    assert page.locator("#pin").get_attribute("aria-pressed") == "true"
    hover(page, case, 1, 1)
    assert text(page, "#pixel-title") == "Pixel 5, 0"
    page.keyboard.press("Escape")
    hover(page, case, 1, 2)
    assert text(page, "#pixel-title") == "Pixel 1, 2"
    page.keyboard.press("2")
    page.keyboard.press("]")
    frame(page)
    assert page.locator('#maps input[value="id"]').is_checked()
    assert text(page, "#sample-name") == "1"
    page.locator('.thumb[data-sample="1"]').focus()
    page.keyboard.press("ArrowRight")
    frame(page)
    assert text(page, "#sample-name") == "2"
    assert page.evaluate("() => document.activeElement.dataset.sample") == "2"
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.locator("#single").uncheck()
    page.keyboard.press("Escape")
    assert not page.locator("#keys").is_visible()
    page.keyboard.press("3")
    frame(page)
    assert page.locator('#maps input[value="id"]').is_checked()


def test_zooming(page, case):
    width = "() => document.getElementById('canvas').getBoundingClientRect().width"
    fitting = page.evaluate(width)
    page.locator("#zoom-in").click()
    frame(page)
    assert page.evaluate(width) > fitting
    hover(page, case, 2, 3)
    assert text(page, "#pixel-title") == "Pixel 2, 3"
    page.locator("#zoom-fit").click()
    frame(page)
    assert page.evaluate(width) == fitting


def test_light_and_dark_themes(opened):
    background = "() => getComputedStyle(document.body).backgroundColor"
    light, dark = opened(color_scheme="light"), opened(color_scheme="dark")
    assert light.evaluate(background) != dark.evaluate(background)
    for page, other in ((light, dark.evaluate(background)), (dark, light.evaluate(background))):
        page.locator("#theme").click()
        assert page.evaluate(background) == other
    assert light.locator("#theme").get_attribute("aria-pressed") == "true"


def test_one_column_on_a_narrow_screen(opened, case):
    page = opened()
    page.set_viewport_size({"width": 380, "height": 800})
    frame(page)
    frame(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 380
    lefts = {page.locator(f".{name}").first.bounding_box()["x"] for name in ("samples", "viewer", "pixel", "sources")}
    assert len(lefts) == 1
    hover(page, case, 3, 2)
    assert text(page, "#pixel-title") == "Pixel 3, 2"


def test_the_address_names_a_pixel(opened, case):
    page = opened("#sample=1&y=4&x=3&map=id")
    assert text(page, "#sample-name") == "1"
    assert text(page, "#pixel-title") == "Pixel 4, 3"
    page.keyboard.press("1")
    page.wait_for_function("() => location.hash === '#sample=1&map=image&y=4&x=3'")
    for odd in ("#sample=99999&y=-1&x=2&map=<b>", "#sample=1e1&y=1.5&x=", "#%E0%A4"):
        assert text(opened(odd), "#sample-name") == "0"
