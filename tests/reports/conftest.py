"""Reports opened in Chromium, by Playwright."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from report_pages import EVIL, payload_of

import npgen
from npgen.reports import report

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
    """Open the report in a browser; messages on its console and requests are failures."""
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
