"""Reports in a real browser: what is shown is what the trace says, by pointer and by keys, in any light.

Needs Chromium and Playwright: `pip install "npgen[browser]"`, then `pytest --browser=/usr/bin/chromium`. `--report=RUN`
adds the report.html of a run folder.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_pages import EVIL, payload_of, unpacked

import npgen
from npgen.inspection.explain import explain
from npgen.reports.page import report
from npgen.runs import pictures as figures

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium(request):
    found = request.config.getoption("--browser") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    how = 'pip install "npgen[browser]" and pytest --browser=/usr/bin/chromium'
    if found is None:
        pytest.skip(f"needs Chromium: {how}")
    api = pytest.importorskip("playwright.sync_api", reason=f"needs Playwright: {how}")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(found), args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Case:
    path: Path
    samples: npgen.Samples
    corpus: npgen.Corpus | None  # of the small one only
    payload: dict[str, Any]


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        runs = metafunc.config.getoption("--report")
        metafunc.parametrize("case", ["small", *runs], ids=["small", *map(str, runs)], indirect=True, scope="module")


@pytest.fixture(scope="module")
def case(request, digits, tmp_path_factory):
    if request.param == "small":
        corpus = npgen.Corpus.from_arrays(digits.images, digits.labels, ["one", EVIL, "three"], name="<b>digits")
        config = npgen.Config(window=5, shortlist=12)
        samples = npgen.generate(corpus, 5, "full", config, encoder="pixels", progress=False)
        path = tmp_path_factory.mktemp("report") / "report.html"
        report(samples, corpus, path, pools=[0], progress=False)
    else:
        corpus, path = None, request.param / "report.html"
        samples = npgen.load_samples(request.param)
    return Case(path, samples, corpus, payload_of(path))


@pytest.fixture
def opened(chromium, case):
    """Open the report in a browser that must stay silent and ask for nothing."""
    contexts, complaints = [], []

    def open_page(fragment="", **settings):
        context = chromium.new_context(viewport={"width": 1400, "height": 1000}, **settings)
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        url = case.path.absolute().as_uri()
        page.on("request", lambda request: own(request.url, url))
        page.goto(url + fragment)
        page.wait_for_selector("html[data-ready]", timeout=60_000)
        return page

    def own(asked, url):
        if asked.split("#")[0] != url and not asked.startswith("data:"):
            complaints.append(f"request of {asked}")

    def said(words):
        if "willReadFrequently" not in words:  # that one is about these tests
            complaints.append(words)

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(opened):
    return opened()


def frame(page):
    """Wait until what was changed is drawn."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def hover(page, case, y, x):
    # The frame first: focus and layout may have moved the canvas.
    page.locator("#canvas").scroll_into_view_if_needed()
    box = page.locator("#canvas").bounding_box()
    height, width = case.samples.images.shape[1:3]
    page.mouse.move(box["x"] + (x + 0.5) * box["width"] / width, box["y"] + (y + 0.5) * box["height"] / height)
    frame(page)


def colour_at(page, canvas, across, down):
    """Return the RGBA of a canvas at a place given as shares of its sides."""
    return page.evaluate(
        """([id, across, down]) => {
            const canvas = document.getElementById(id);
            const at = [Math.floor(across * canvas.width), Math.floor(down * canvas.height)];
            return Array.from(canvas.getContext("2d").getImageData(...at, 1, 1).data);
        }""",
        [canvas, across, down],
    )


def sample_colour(page, case, y, x):
    height, width = case.samples.images.shape[1:3]
    # A little beside the middle, where no mark of another pixel reaches.
    return colour_at(page, "canvas", (x + 0.5) / width, (y + 0.5) / height)


def rgb(value):
    return [int(part) for part in np.broadcast_to(value, 3)]


def show(page, key):
    page.locator(f'#maps input[value="{key}"]').check(force=True)
    frame(page)


def some_pixels(case, count, seed=0):
    random = np.random.default_rng(seed)
    height, width = case.samples.images.shape[1:3]
    return [tuple(map(int, pixel)) for pixel in random.integers(0, (height, width), (count, 2))]


def text(page, selector):
    return page.locator(selector).inner_text().strip()


def source_sizes(case):
    """Return height and width of each source by its id."""
    sources = case.payload["sources"]
    ids = unpacked(sources["id"]).tolist()
    if sources["size"] is None:
        return dict.fromkeys(ids, case.payload["source_shape"][:2])
    return dict(zip(ids, unpacked(sources["size"]).reshape(-1, 2).tolist(), strict=True))


def test_pointing_at_a_pixel_shows_its_traced_source(page, case):
    trace, sizes = case.samples.trace, source_sizes(case)
    for k in (0, case.payload["shown"] - 1):
        page.locator(f'.thumb[data-sample="{k}"]').click()
        for y, x in some_pixels(case, 8, k):
            hover(page, case, y, x)
            i, sy, sx = (int(array[k, y, x]) for array in (trace.image_id, trace.y, trace.x))
            assert text(page, "#pixel-title") == f"Pixel {y}, {x}"
            assert text(page, "#fact-source") == str(i)
            assert text(page, "#fact-place").startswith(f"{sy}, {sx} ")
            assert text(page, "#source-caption").startswith(f"Source {i}")
            value = case.samples.images[k, y, x]
            height, width = sizes[i]
            assert text(page, "#fact-value") == ", ".join(map(str, value))
            # The frame around a pixel of a large source, shown small, covers it.
            if page.evaluate("() => document.getElementById('source').width") >= 5 * width:
                assert colour_at(page, "source", (sx + 0.5) / width, (sy + 0.5) / height)[:3] == rgb(value)
            drawn = trace.pool_size[k, y, x] > 0
            assert text(page, "#fact-pool") == (f"{trace.pool_size[k, y, x]:,}" if drawn else "–")
            assert page.locator(".pair").is_visible() == drawn
            if drawn:
                assert colour_at(page, "there", 0.5, 0.5)[:3] == rgb(value)
                distance = float(trace.distance[k, y, x])
                assert float(text(page, "#fact-distance").replace(",", "")) == pytest.approx(distance, abs=0.51)
            if case.corpus is not None:
                assert text(page, "#fact-class") == case.corpus.classes[case.corpus.labels[i]]


def test_every_map_can_be_shown(page, case):
    samples = case.samples[: case.payload["shown"]]
    k = 1
    page.locator(f'.thumb[data-sample="{k}"]').click()
    expected = {
        "image": np.broadcast_to(samples.images, (*samples.images.shape[:3], 3)),
        "id": figures.coloured_by_image(samples),
    }
    if case.corpus is not None:
        expected["class"] = figures.coloured_by_class(samples, case.corpus)
    shown = [radio.get_attribute("value") for radio in page.locator("#maps input").all()]
    every = ["image", "id", "class", "id-entropy", "class-entropy", "distance", "pool", "step"]
    labelled = case.payload["classes"] is not None
    assert shown == [key for key in every if labelled or not key.startswith("class")]
    legends, looks = set(), set()
    for key in shown:
        show(page, key)
        hover(page, case, 0, 0)
        legends.add(text(page, "#legend"))
        colours = [sample_colour(page, case, y, x) for y, x in some_pixels(case, 20) if max(y, x) > 6]
        looks.add(str(colours))
        if key in expected:
            wanted = [expected[key][k, y, x].tolist() for y, x in some_pixels(case, 20) if max(y, x) > 6]
            assert [colour[:3] for colour in colours] == wanted
        thumb = page.evaluate(
            """(k) => Array.from(document.querySelector(`.thumb[data-sample="${k}"] canvas`).getContext("2d")
                .getImageData(3, 4, 1, 1).data)""",
            k,
        )
        if key in expected:
            assert thumb[:3] == expected[key][k, 4, 3].tolist()
    assert len(legends) == len(looks) == len(shown)


def test_maps_of_numbers_hold_the_librarys_numbers(page, case):
    samples, k = case.samples, 0
    height, width = samples.images.shape[1:3]
    entropies = npgen.entropy_map(samples.trace.image_id[k])
    order = npgen.fill_order(
        height, width, samples.config.seed_rect(height, width), samples.config.window
    ).pixels.tolist()
    for y, x in some_pixels(case, 6):
        hover(page, case, y, x)
        for key in ("id-entropy", "pool", "step"):
            show(page, key)
            told = page.locator("#canvas").get_attribute("aria-label").rsplit(" ", 1)[1]
            drawn = samples.trace.pool_size[k, y, x] > 0
            if key == "id-entropy":
                inside = 3 <= y < height - 3 and 3 <= x < width - 3
                assert float(told) == pytest.approx(entropies[y - 3, x - 3], abs=0.051) if inside else told == "none"
            elif key == "pool":
                assert told == (f"{samples.trace.pool_size[k, y, x]:,}" if drawn else "none")
            else:
                assert told == (str(order.index([y, x]) + 1) if drawn else "none")


def test_the_filling_plays(page, case):
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
    # The pixel looked at is the one drawn last; what comes later is not there yet.
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


def seed_rect(case):
    return case.samples.config.seed_rect(*case.samples.images.shape[1:3])


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


def test_everything_goes_by_keys(page, case):
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


def test_a_source_lights_up_its_pixels(page, case):
    ids = case.samples.trace.image_id[0]
    found, counts = np.unique(ids, return_counts=True)
    row = page.locator("#sources button").first
    top = int(row.get_attribute("data-source"))
    assert counts[found == top] == counts.max()
    assert text(page, "#sources-facts") == f"{len(found):,} images"
    row.click()
    page.mouse.move(0, 0)
    frame(page)
    assert row.get_attribute("aria-pressed") == "true"
    inside, outside = np.argwhere(ids == top)[0].tolist(), np.argwhere(ids != top)[0].tolist()
    assert sample_colour(page, case, *inside)[3] == 255
    assert sample_colour(page, case, *outside)[3] < 100
    row.click()
    page.mouse.move(0, 0)
    page.evaluate("() => document.activeElement.blur()")
    frame(page)
    assert sample_colour(page, case, *outside)[3] == 255
    if page.locator("#more").is_visible():
        page.locator("#more").click()
        assert page.locator("#sources li").count() == len(found)


def test_pools_are_shown(page, case):
    kept = next(iter(case.payload["pools"]))
    page.locator(f'.thumb[data-sample="{kept}"]').click()
    drawn = [pixel for pixel in some_pixels(case, 12) if case.samples.trace.pool_size[int(kept), *pixel] > 0]
    for y, x in drawn[:4]:
        hover(page, case, y, x)
        rows = page.locator("#pool button")
        source = case.samples.trace.image_id[int(kept), y, x]
        assert page.locator("#pool .drawn").get_attribute("data-source") == str(source)
        if case.corpus is not None:
            found = explain(case.samples, case.corpus, int(kept), (y, x))
            ids = [int(row.get_attribute("data-source")) for row in rows.all()]
            assert ids[:7] == found.pool.image_id[:7].tolist()
    page.locator("#pool button").last.focus()
    frame(page)
    assert text(page, "#source-caption").startswith("Candidate ")
    page.locator(f'.thumb[data-sample="{case.payload["shown"] - 1}"]').click()
    hover(page, case, *drawn[0])
    if str(case.payload["shown"] - 1) not in case.payload["pools"]:
        y, x = drawn[0]
        assert f"npgen explain RUN {case.payload['shown'] - 1} {y} {x}" in text(page, "#pool-note")


def test_light_and_dark(opened):
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


def test_a_printed_name_is_never_markup(page, case):
    assert page.locator("img").count() == 0
    assert page.locator("b").count() == 0
    if case.corpus is not None:
        page.locator('#maps input[value="class"]').check(force=True)
        frame(page)
        assert EVIL in page.locator("body").inner_text()
        assert text(page, "h1") == "5 samples of <b>digits"
