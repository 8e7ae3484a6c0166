"""Reads YAML and remembers on which line each key stood, so that an error can name it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from introspect._checked import did_you_mean, known_at, place_of
from introspect._yaml import load_yaml_lines
from introspect.errors import ConfigError

__all__ = ["Lines", "read_lines", "told"]

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Lines:
    """Lines of keys in a text.

    Attributes:
        at: Path of a key -> its line, from 1.
        source: What the text is called.
    """

    at: Mapping[Path, int]
    source: str

    def where(self, path: Path) -> str:
        """Source and line of a path, or of the nearest one above it that stands in the text."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.at:
                return f"{self.source}, line {self.at[path[:length]]}"
        return self.source


def read_lines(text: str, source: str) -> tuple[Any, Lines]:
    """Plain data from YAML, and the line of every key.

    Raises:
        ConfigError: Not YAML, more than plain data, a key given twice, or aliases without end; the line is named.
    """
    data, at = load_yaml_lines(text, source)
    if data is None:
        raise ConfigError(f"{source} is empty: a protocol has at least a name")
    return data, Lines(at, source)


def told(error: ValidationError, lines: Lines, model: type[BaseModel]) -> str:
    """The first problem in one line: where it stands, what it is and what to do."""
    problems = error.errors()
    # Of a value that may be of several kinds, what is wrong with the kind that it is comes last.
    first = problems[0] if problems[0]["loc"][-1:] != ("int",) else problems[-1]
    path = place_of(first["loc"])
    name = ".".join(map(str, path))
    if first["type"] == "extra_forbidden":
        remedy = did_you_mean(str(path[-1]), known_at(model, path[:-1]))
        section = ".".join(map(str, path[:-1])) or "protocol"
        return f"{lines.where(path)}: {section}: unknown key {path[-1]!r}; {remedy}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error" and path == () and ":" in message:
        # What spans sections names its key itself.
        path = tuple(message.partition(":")[0].split("."))
        return f"{lines.where(path)}: {message}"
    if first["type"] == "value_error":
        return f"{lines.where(path)}: {name}: {message}"
    given = "" if first["type"] == "missing" else f"; got {first['input']!r:.60}"
    return f"{lines.where(path)}: {name}: {message[:1].lower()}{message[1:]}{given}"
