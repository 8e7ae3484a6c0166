"""The shared ground of the records that users write: frozen, strict about unknown fields, one-line errors."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict

from introspect._checked import Checked
from introspect.errors import IntrospectError, ScenarioError

__all__ = ["Line", "Record", "Text"]


def _one_line(text: str) -> str:
    """Texts end up inside prompts whose lines have a meaning, so they must not break or bend one."""
    text = text.strip()
    bad = next((c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")), None)
    if bad is not None:
        raise ValueError(f"must be one line of plain text without control characters, got {text!r}")
    return text


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


Line = Annotated[str, AfterValidator(_one_line)]
"""One line of text without control characters; may be empty."""
Text = Annotated[Line, AfterValidator(_not_empty)]
"""One line of text that says something."""


class Record(Checked):
    """A frozen record whose validation errors are one-line `ScenarioError`s naming record and field."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    _error: ClassVar[type[IntrospectError]] = ScenarioError
    _kind: ClassVar[str] = "record"
    _label: ClassVar[str] = "id"

    # Its own constructor, so that it is called for a record inside another too: then that names itself ("attribute
    # 'price'"), and not its number in a list.
    def __init__(self, /, *given: Any, **data: Any) -> None:
        super().__init__(*given, **data)
