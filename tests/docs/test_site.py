"""The documentation site builds without a warning, and no link in it leads nowhere."""

from __future__ import annotations

import importlib.util
import inspect
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Page(HTMLParser):
    """What a page links to, what it loads, and the places in it that can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := said.get(key))}
        if tag == "a" and (href := said.get("href")):
            self.links.append(href)
        if tag in ("script", "img") and (src := said.get("src")):
            self.loads.append(src)
        if tag == "link" and said.get("rel") in ("stylesheet", "icon") and (href := said.get("href")):
            self.loads.append(href)


def broken_links(folder: Path) -> list[str]:
    """Links inside a built site that lead nowhere, and anything that a page would load from elsewhere."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}
    wrong = []
    for path, page in pages.items():
        where = path.relative_to(folder)
        wrong += [f"{where} loads {what}" for what in page.loads if re.match(r"(https?:)?//", what)]
        for link in [*page.links, *page.loads]:
            if re.match(r"[a-z]+:|//", link):
                if link.startswith("http") and not re.match(r"https://[\w.-]+\.[a-z]{2,}(/|$)", link):
                    wrong.append(f"{where}: {link} is no address")
                continue
            target, _, anchor = link.partition("#")
            file = (path.parent / unquote(target.partition("?")[0])).resolve() if target else path
            if not file.exists():
                wrong.append(f"{where}: {link} does not exist")
            elif anchor and file in pages and unquote(anchor) not in pages[file].anchors:
                wrong.append(f"{where}: {link} has no such place")
    return wrong


def test_a_link_that_leads_nowhere_is_noticed(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here"></a><a href="b.html#there"></a><a href="c.html"></a><a href="http:x"></a>'
        '<script src="https://example.org/x.js"></script>'
    )
    (tmp_path / "b.html").write_text('<h1 id="here"></h1>')
    found = " ".join(broken_links(tmp_path))
    assert "b.html#there" in found
    assert "c.html" in found
    assert "http:x" in found
    assert "example.org" in found
    assert "b.html#here" not in found


def test_the_picture_of_the_rooms_is_the_one_that_the_code_draws():
    draw = script("draw_architecture")
    drawn = draw.draw()
    assert draw.TARGET.read_text(encoding="utf-8") == drawn, "run python scripts/draw_architecture.py"
    rooms = {path.parent.name for path in (ROOT / "src" / "introspect").glob("*/__init__.py")}
    assert {room for row in draw.layers() for room in row} | {"testing"} == rooms
    for room in rooms - {"testing"}:
        assert f">{room}<" in drawn


def test_every_public_object_has_words_for_its_reference_page():
    pytest.importorskip("sphinx")
    pages = script("build_docs")
    for room in pages.ROOMS:
        module = pages.import_module(f"introspect.{room}")
        for name in pages.public_names(module):
            value = getattr(module, name)
            assert pages._directive(f"{module.__name__}.{name}", value)
            if inspect.isclass(value) or inspect.isroutine(value):
                assert (value.__doc__ or "").strip(), f"{module.__name__}.{name} has no docstring"


def test_every_public_name_of_the_package_is_in_a_room_of_the_reference():
    import introspect

    pages = script("build_docs")
    listed = {name for room in pages.ROOMS for name in pages.public_names(pages.import_module(f"introspect.{room}"))}
    assert set(introspect.__all__) - {"__version__"} <= listed


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_stands_alone(tmp_path):
    for needed in ("sphinx", "myst_nb", "furo"):
        pytest.importorskip(needed)
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "build_docs.py"), "--out", str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    html = tmp_path / "html"
    assert broken_links(html) == []
    for page in ("index", "tutorials/the-loop", "how-to/run-on-a-service", "reference/measure", "architecture"):
        assert (html / f"{page}.html").is_file()
    loop = (html / "tutorials" / "the-loop.html").read_text(encoding="utf-8")
    assert "<svg" in loop
    assert 'src="../_images/' in loop
    _looks_right(html)


def _looks_right(html: Path) -> None:
    """In a real browser no page of the site asks for anything outside, complains or is wider than a phone."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
    if chromium is None:
        return
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.set_default_timeout(180_000)
        asked: list[str] = []
        said: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: said.append(str(error)))
        for name in ("index", "tutorials/the-loop", "how-to/run-on-a-service", "statistics", "reference/decision"):
            page.goto((html / f"{name}.html").as_uri())
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= 400, f"{name} is {wide} pixels wide on a phone"
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []
