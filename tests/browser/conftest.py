"""Debian's Chromium, driven by Playwright; without either the tests of this folder are skipped."""

import shutil
from dataclasses import dataclass, field

import pytest

CHROMIUM = shutil.which("chromium")
playwright = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="session")
def chromium():
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page with what went wrong on it, and what it asked the network for."""

    page: object
    problems: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    page_url: str = ""


@pytest.fixture
def open_page(chromium, tmp_path):
    """(text of a page, width, colour scheme) -> `Opened`; a problem on any fails the test."""
    contexts, opened = [], []

    def build(text, width=1280, scheme="light", touch=False):
        path = tmp_path / f"page{len(opened)}.html"
        path.write_text(text, encoding="utf-8")
        size = {"width": width, "height": 900}
        contexts.append(chromium.new_context(viewport=size, color_scheme=scheme, has_touch=touch))
        result = Opened(contexts[-1].new_page(), page_url=path.as_uri())
        opened.append(result)
        result.page.on("console", lambda message: result.problems.append(f"{message.type}: {message.text}"))
        result.page.on("pageerror", lambda error: result.problems.append(str(error)))
        result.page.on("dialog", lambda dialog: result.problems.append(f"dialog: {dialog.message}"))
        result.page.on("request", lambda request: result.requests.append(request.url))
        result.page.goto(path.as_uri())
        return result

    yield build
    for context in contexts:
        context.close()
    for each in opened:
        assert each.problems == []
        assert {url for url in each.requests if not url.startswith("data:")} == {each.page_url}
