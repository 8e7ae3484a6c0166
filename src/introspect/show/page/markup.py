"""Text and pictures as HTML: what comes from a model is data and never markup."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable

__all__ = ["items", "picture", "plain"]


def plain(text: str) -> str:
    """Text for HTML. Direction marks are shown by number: no model's name may turn the page around.

    Example:
        >>> plain("a < b")
        'a &lt; b'
    """
    known = text.encode("utf-8", "replace").decode("utf-8")
    return html.escape(
        re.sub(r"[\u200e\u200f\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f]", _code, known), quote=True
    )


def items(lines: Iterable[str]) -> str:
    """Items of a list."""
    return "".join(f"<li>{plain(line)}</li>" for line in lines)


def picture(kind: str, data: bytes, caption: str) -> str:
    """A figure with its caption, in the page itself; one of several panels gets the whole width."""
    # A PNG tells its size in its first chunk.
    width, height = (int.from_bytes(data[k : k + 4], "big") for k in (16, 20))
    wide = ' class="wide"' if data.startswith(b"\x89PNG") and width > 2.4 * height else ""
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    return (
        f'<figure{wide}><img src="{source}" alt="{plain(caption)}"><figcaption>{plain(caption)}</figcaption></figure>'
    )


def _code(found: re.Match[str]) -> str:
    return f"⟨U+{ord(found[0]):04X}⟩"
