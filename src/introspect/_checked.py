"""The shared ground of all records: a field that is wrong or misspelt is told in one line of our own."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ValidationError

from introspect.errors import ConfigError, IntrospectError

__all__ = ["Checked", "did_you_mean", "known_at", "place_of", "raw_validate"]

Model = TypeVar("Model", bound=BaseModel)


class Checked(BaseModel):
    """A record whose errors are one line: which record, which field, what was meant, what there is.

    Raises:
        IntrospectError: `_error` of the class, from the constructor, `model_validate` and `model_validate_json`.

    Example:
        >>> class Lamp(Checked, extra="forbid"):
        ...     power: int = 5
        ...     cost: float = 1.0
        >>> Lamp(pwoer=3)
        Traceback (most recent call last):
        ...
        introspect.errors.ConfigError: Lamp: unknown field 'pwoer', did you mean 'power'? (known: power, cost)
        >>> Lamp(cost="much")
        Traceback (most recent call last):
        ...
        introspect.errors.ConfigError: Lamp: cost: input should be a valid number, ..., got 'much'
    """

    _error: ClassVar[type[IntrospectError]] = ConfigError
    _kind: ClassVar[str] = ""
    _label: ClassVar[str] = ""

    def __init__(self, /, *given: Any, **data: Any) -> None:
        if given:
            shown = ", ".join(f"{name}=..." for name in list(type(self).model_fields)[: len(given)])
            raise self._error(
                f"{type(self).__name__} takes its fields by name, got {len(given)} without one. "
                f"Write {type(self).__name__}({shown})"
            )
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise self._error(self._sentence(data, error)) from None

    # Without this mark pydantic calls the constructor for each record inside another; then an inner field's error
    # comes back as words, and its place, which is what a file's line is found by, is lost.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        # What is at its default says nothing, and would be most of a line.
        for name, value in super().__repr_args__():
            field = type(self).model_fields.get(name or "")
            if field is None or value != field.get_default(call_default_factory=True):
                yield name, value

    @classmethod
    def model_validate(cls, obj: Any, **kwargs: Any) -> Self:
        """Like pydantic's, but raising our own error."""
        try:
            return super().model_validate(obj, **kwargs)
        except ValidationError as error:
            raise cls._error(cls._sentence(obj, error)) from None

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **kwargs: Any) -> Self:
        """Like pydantic's, but raising our own error."""
        try:
            return super().model_validate_json(json_data, **kwargs)
        except ValidationError as error:
            raise cls._error(cls._sentence(None, error)) from None

    @classmethod
    def _sentence(cls, data: object, error: ValidationError) -> str:
        head = cls._kind or cls.__name__
        if isinstance(data, dict) and cls._label in data:
            head += f" {_short(data[cls._label])}"
        problems = [
            (item["type"], place_of(item["loc"]), item["msg"], item["input"])
            for item in error.errors(include_url=False, include_context=False)
        ]
        # A misspelt field is missing, too; to say so besides would hide which of the two to mend.
        meant = {
            near
            for kind, place, _, _ in problems
            if kind == "extra_forbidden" and (near := _near(str(place[-1]), known_at(cls, place[:-1])))
        }
        parts = [
            _problem(cls, *problem)
            for problem in problems
            if not (problem[0] == "missing" and problem[1] and problem[1][-1] in meant)
        ]
        # A nested record has already named itself and a wrapped call has already named this one.
        if all(part.startswith(head + ":") for part in parts):
            return "; ".join(parts)
        return f"{head}: " + "; ".join(parts)


def raw_validate(model: type[Model], data: object) -> Model:
    """A record from plain data; what is wrong comes as pydantic's error, whose places a file's lines are found by.

    Raises:
        ValidationError: The data are no such record.
    """
    made: Model = model.__pydantic_validator__.validate_python(data)
    return made


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """What to do about a name that there is not.

    Example:
        >>> did_you_mean("reprots", ["reports", "style"]), did_you_mean("x", ["reports", "style"])
        ("did you mean 'reports'?", 'known here: reports, style')
    """
    near = _near(name, known)
    return f"did you mean {near!r}?" if near else f"known here: {', '.join(known)}"


def place_of(loc: Sequence[int | str]) -> tuple[int | str, ...]:
    """An error's place without the names of union members that pydantic adds."""
    return tuple(
        part
        for part in loc
        if not (isinstance(part, str) and (part in ("int", "str") or part.startswith("tuple[") or part.endswith("]")))
    )


def known_at(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """The fields of the record that stands at a place inside another."""
    for part in place:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = _model_in(field.annotation) if field else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, BaseModel) else None
    for part in typing.get_args(annotation):
        found = _model_in(part)
        if found is not None:
            return found
    return None


def _near(name: str, known: Sequence[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, 1)), None)


def _short(value: object, limit: int = 60) -> str:
    # What a collection holds may be anything, a key to a service too.
    text = type(value).__name__ if isinstance(value, Mapping | list | tuple | set) else repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _problem(cls: type[BaseModel], kind: str, place: tuple[int | str, ...], message: str, given: object) -> str:
    field = ".".join(map(str, place))
    if kind == "value_error":
        text = message.removeprefix("Value error, ")
        return f"{field}: {text}" if field else text
    if kind == "missing":
        return f"field {field!r} is missing"
    if kind == "extra_forbidden":
        known = known_at(cls, place[:-1])
        near = _near(str(place[-1]), known)
        meant = f", did you mean {near!r}?" if near else ""
        return f"unknown field {field!r}{meant} (known: {', '.join(known)})"
    shown = type(given).__name__ if kind == "dict_type" else _short(given)
    told = f"{message[:1].lower()}{message[1:]}, got {shown}"
    return f"{field}: {told}" if field else told
