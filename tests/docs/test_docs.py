"""What the documentation shows is run: its Python, its commands, its files and its links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from introspect import organism_ref
from introspect.cli import program

ROOT = Path(__file__).parents[2]
PAGES = sorted(p for folder in (".", "how-to", "explanation") for p in (ROOT / "docs" / folder).glob("*.md"))
OTHERS = [*(ROOT / "docs" / "results").rglob("*.md"), *(ROOT / "examples" / "notebooks").glob("*.md")]
LINKED = [
    *PAGES,
    *sorted(OTHERS),
    *(path for name in ("README.md", "CONTRIBUTING.md") if (path := ROOT / name).is_file()),
]

FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it starts on, and the comment right above it."""

    language: str
    code: str
    line: int
    note: str


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        above = text[: found.start()].rstrip("\n").rpartition("\n")[2].strip()
        note = above.removeprefix("<!--").removesuffix("-->").strip() if above.startswith("<!--") else ""
        yield Block(found["language"], found["code"], text.count("\n", 0, found.start()) + 1, note)


def headings(page: Path) -> set[str]:
    """Anchors of a page's headings, as Git hosts make them."""
    lines = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.strip().lower()).replace(" ", "-") for line in lines}


def alike(shown: str, printed: str) -> bool:
    """The same words, and numbers that agree to what a reader would call the same."""
    if [part.split() for part in NUMBER.split(shown)] != [part.split() for part in NUMBER.split(printed)]:
        return False
    pairs = zip(NUMBER.findall(shown), NUMBER.findall(printed), strict=True)
    return all(float(a) == pytest.approx(float(b), abs=0.02, rel=0.02) for a, b in pairs)


def test_there_are_pages_to_check():
    assert {page.name for page in PAGES} >= {"architecture.md", "first-study.md", "statistics.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_example_runs_and_prints_what_the_page_shows(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "example"}
    printed: str | None = None  # what the block before this one printed, where it was run
    for block in blocks(page):
        if block.note.startswith("file: "):
            (tmp_path / block.note.removeprefix("file: ")).write_text(block.code, encoding="utf-8")
        elif block.language == "python" and block.note != "no-run":
            capsys.readouterr()
            # Empty lines put the block where it stands on the page, so that a traceback names the right line.
            exec(compile("\n" * block.line + block.code, str(page), "exec"), namespace)  # noqa: S102
            printed = capsys.readouterr().out
            continue
        elif block.language == "text" and block.note == "prints":
            assert printed is not None, f"{page.name}:{block.line} shows output, but no example ran before it"
            assert alike(block.code, printed), f"{page.name}:{block.line} prints:\n{printed}"
        printed = None


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for block in blocks(page):
        if block.language not in ("bash", "sh", "console"):
            continue
        for line in block.code.splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words[:1] == ["make"]:
                assert words[1] in targets, f"{page.name}:{block.line}: the Makefile has no target {words[1]!r}"
            elif words[:1] == ["introspect"]:
                program._parser().parse_args(words[1:])  # exits where a word is unknown
            elif words[:1] == ["python"] and len(words) > 1 and words[1].endswith(".py"):
                assert (ROOT / words[1]).is_file(), f"{page.name}:{block.line}: there is no {words[1]}"


@pytest.mark.parametrize("page", LINKED, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page):
    for found in LINK.finditer(FENCE.sub("", page.read_text(encoding="utf-8"))):
        target, _, anchor = found["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue  # another site
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name} links to {found['target']}, which does not exist"
        if anchor and path.suffix == ".md":
            assert anchor in headings(path), f"{page.name} links to {found['target']}, which has no such heading"


RESULTS = sorted((ROOT / "docs" / "results").rglob("*.md"))


@pytest.mark.parametrize("page", RESULTS, ids=lambda page: page.parent.name + "/" + page.name)
def test_every_page_of_results_says_what_was_run(page):
    cards = [block.code for block in blocks(page) if block.note == "manifest"]
    assert cards, f"{page} has no manifest: add what `introspect report DIR --manifest COMMAND` prints"
    for card in cards:
        lines = [line.split(maxsplit=1) for line in card.splitlines()]
        assert all(len(line) == 2 for line in lines), card
        names = {name for name, _ in lines}
        assert {"command", "model", "seeds", "introspect", "packages", "machine", "date"} <= names, card
        assert names & {"protocol", "settings"}, card
        assert re.fullmatch(r"20\d\d-\d\d-\d\d( to 20\d\d-\d\d-\d\d)?", dict(lines)["date"])
        for model in (value for name, value in lines if name == "model"):
            assert re.search(r"sha256:[0-9a-f]{12}$", model), f"{model} could be any model of that name"
            shipped = re.match(r"organism/(shared|weak|split),", model)
            if shipped:  # figures of an organism that was since grown again are figures of another one
                revision = organism_ref(shipped[1]).revision
                assert revision is not None
                assert revision.startswith(model.rpartition(" ")[2])


def test_a_page_that_shows_the_wrong_number_is_noticed():
    assert alike("r = 0.391 over 12 contexts", "r = 0.39 over  12 contexts\n")
    assert not alike("r = 0.39 over 12 contexts", "r = 0.48 over 12 contexts")
    assert not alike("r = 0.39", "r = 0.39 (p = 0.1)")
