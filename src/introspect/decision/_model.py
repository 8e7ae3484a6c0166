"""The shared ground of the records that users write: frozen, strict about unknown fields, one-line errors."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from introspect.errors import ScenarioError

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


class Record(BaseModel):
    """A frozen record whose validation errors are one-line `ScenarioError`s naming record and field."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    _kind: ClassVar[str] = "record"
    _label: ClassVar[str] = "id"

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise ScenarioError(self._sentence(data, error)) from None

    @classmethod
    def model_validate(cls, obj: Any, **kwargs: Any) -> Self:
        """Like pydantic's, but raising ScenarioError."""
        try:
            return super().model_validate(obj, **kwargs)
        except ValidationError as error:
            raise ScenarioError(cls._sentence(obj, error)) from None

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **kwargs: Any) -> Self:
        """Like pydantic's, but raising ScenarioError."""
        try:
            return super().model_validate_json(json_data, **kwargs)
        except ValidationError as error:
            raise ScenarioError(cls._sentence(None, error)) from None

    @classmethod
    def _sentence(cls, data: object, error: ValidationError) -> str:
        head = cls._kind
        if isinstance(data, dict) and cls._label in data:
            head += f" {_short(data[cls._label])}"
        parts = [
            _problem(cls, item["type"], item["loc"], item["msg"], item["input"])
            for item in error.errors(include_url=False, include_context=False)
        ]
        # A nested record has already named itself and a wrapped call has already named this one.
        if all(part.startswith(head + ":") for part in parts):
            return "; ".join(parts)
        return f"{head}: " + "; ".join(parts)


def _short(value: object, limit: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _problem(cls: type[BaseModel], kind: str, loc: tuple[int | str, ...], message: str, given: object) -> str:
    field = ".".join(map(str, loc))
    if kind == "value_error":
        text = message.removeprefix("Value error, ")
        return f"{field}: {text}" if field else text
    if kind == "missing":
        return f"field {field!r} is missing"
    if kind == "extra_forbidden":
        return f"unknown field {field!r} (known: {', '.join(cls.model_fields)})"
    message = message[:1].lower() + message[1:]
    return f"{field}: {message}, got {_short(given)}" if field else f"{message}, got {_short(given)}"
