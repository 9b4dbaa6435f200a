"""Reports in a real browser: maps, sources and pools are those of the trace.

Needs Chromium and Playwright: `pip install "npgen[browser]"`, then `pytest --browser=/usr/bin/chromium`. `--report=RUN`
adds the report.html of a run folder.
"""

import numpy as np
import pytest
from report_pages import (
    EVIL,
    colour_at,
    frame,
    hover,
    rgb,
    sample_colour,
    show,
    some_pixels,
    source_sizes,
    text,
)

import npgen
from npgen.inspection.explain import explain
from npgen.runs import pictures as figures


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
            shown = page.locator("#canvas").get_attribute("aria-label").rsplit(" ", 1)[1]
            drawn = samples.trace.pool_size[k, y, x] > 0
            if key == "id-entropy":
                inside = 3 <= y < height - 3 and 3 <= x < width - 3
                assert float(shown) == pytest.approx(entropies[y - 3, x - 3], abs=0.051) if inside else shown == "none"
            elif key == "pool":
                assert shown == (f"{samples.trace.pool_size[k, y, x]:,}" if drawn else "none")
            else:
                assert shown == (str(order.index([y, x]) + 1) if drawn else "none")


def test_a_source_highlights_its_pixels(page, case):
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


def test_a_printed_name_is_never_markup(page, case):
    assert page.locator("img").count() == 0
    assert page.locator("b").count() == 0
    if case.corpus is not None:
        page.locator('#maps input[value="class"]').check(force=True)
        frame(page)
        assert EVIL in page.locator("body").inner_text()
        assert text(page, "h1") == "5 samples of <b>digits"
