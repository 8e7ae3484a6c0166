"""The README is run: every example in it, in order, as a reader would in one session."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
_FENCE = re.compile(
    r"^(?P<marked><!-- no-run -->\n\s*)?```(?P<kind>\w*)[^\n]*\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE
)


def blocks(text: str) -> list[str]:
    """The python blocks that are not marked ``<!-- no-run -->``."""
    return [m["code"] for m in _FENCE.finditer(text) if m["kind"] in ("python", "py") and not m["marked"]]


def test_marked_blocks_and_other_languages_are_left_out() -> None:
    text = "```python\na = 1\n```\n\n<!-- no-run -->\n```python\nb = 2\n```\n```bash\nls\n```\n```python\nc = 3\n```\n"
    assert blocks(text) == ["a = 1\n", "c = 3\n"]
    assert blocks("<!-- no-run -->\n\n```python\nb = 2\n```\n") == []


def test_the_readme_has_examples_that_can_be_run() -> None:
    assert blocks(README.read_text(encoding="utf-8"))


def test_every_python_example_is_python() -> None:
    """Those that are not run are at least compiled."""
    for found in _FENCE.finditer(README.read_text(encoding="utf-8")):
        if found["kind"] in ("python", "py"):
            compile(found["code"], "README.md", "exec")


@pytest.mark.slow
def test_every_example_runs_in_order(tmp_path: Path) -> None:
    code = "\n".join(blocks(README.read_text(encoding="utf-8")))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_it_links_to_is_there() -> None:
    text = README.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", text)
    links += re.findall(r"<img[^>]*src=\"(?!https?://)([^\"]+)", text)
    missing = [link for link in links if not (README.parent / link).exists()]
    assert not missing
