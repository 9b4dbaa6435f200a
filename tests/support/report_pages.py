"""Parts of the tests of reports: names that must stay text, a page's data, and actions on an opened page."""

import base64
import json
import re

import numpy as np

EVIL = "</script><img src=x onerror=alert(1)>"
TYPES = {"u1": "<u1", "u2": "<u2", "u4": "<u4", "f4": "<f4"}


def payload_of(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def unpacked(part):
    return np.frombuffer(base64.b64decode(part["data"]), TYPES[part["type"]])


# Actions on a page that is opened in a browser


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


def seed_rect(case):
    return case.samples.config.seed_rect(*case.samples.images.shape[1:3])
