"""The page in a real browser: hostile replies do nothing, filters and keys work, it fits a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_page import HOSTILE, hostile_folder

from introspect.show import write_page

pytestmark = pytest.mark.slow
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs Chromium on the path")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty thousand replies, the hostile ones among them."""
    texts = [*HOSTILE, *(f"reply number {k}: {'word ' * 40}" for k in range(20_000 - len(HOSTILE) - 1))]
    return write_page(hostile_folder(tmp_path_factory.mktemp("many") / "s", texts))


@pytest.fixture
def page(browser: Any, many: Path) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(120_000)
    opened.asked, opened.said = [], []
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.goto(many.as_uri())
    opened.wait_for_selector("body[data-ready=yes]")
    yield opened
    context.close()


def test_twenty_thousand_replies_open_without_a_request_an_error_or_a_long_list(page: Any) -> None:
    assert [url for url in page.asked if not url.startswith(("file:", "data:"))] == []
    assert page.said == []
    assert page.text_content("#count") == "20,000 of 20,000 replies"
    assert page.locator(".row").count() < 60


def test_hostile_replies_are_shown_and_do_nothing(page: Any) -> None:
    for text in HOSTILE[:8]:
        page.fill("#search", text[:14])
        page.wait_for_timeout(300)
        assert page.evaluate("window.owned") is None
        assert page.locator("#detail pre.reply").count() == 1
        assert page.locator("#detail img, #detail svg, #detail script").count() == 0
    page.fill("#search", "right to left")
    page.wait_for_timeout(300)
    assert "⟨U+202E⟩" in page.text_content("#detail pre.reply")


def test_filters_and_the_search_narrow_the_list_and_can_be_cleared(page: Any) -> None:
    page.select_option("#outcome", label="failed (1)")
    assert page.text_content("#count") == "1 of 20,000 replies"
    page.click("#clear")
    page.fill("#search", "reply number 1234:")
    page.wait_for_timeout(400)
    assert page.text_content("#count") == "1 of 20,000 replies"
    page.fill("#search", "no such text anywhere")
    page.wait_for_timeout(400)
    assert "No reply passes" in page.text_content("#detail")


def test_the_list_is_walked_by_keys(page: Any) -> None:
    page.focus("#list")
    for key in ("ArrowDown", "ArrowDown", "End", "Home", "PageDown"):
        page.keyboard.press(key)
    chosen = page.locator(".row[aria-selected=true]")
    assert chosen.count() == 1
    assert int(chosen.get_attribute("aria-posinset")) > 3
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "detail"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "list"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"


def test_it_fits_a_phone_and_is_dark_where_that_is_wished(browser: Any, many: Path) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme="dark")
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(many.as_uri())
    page.wait_for_selector("body[data-ready=yes]")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) < 150
    context.close()
