"""JSON as models write it: found in prose, forgiven small slips, never guessed at."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

__all__ = ["Bare", "Found", "LooseArray", "LooseObject", "LooseValue", "find_arrays", "find_objects"]

_MAX_DEPTH = 8
_MAX_STRING = 4000
_MAX_BROKEN = 2000
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’"}
_DOUBLE = re.compile(r'"(?:[^"\\]|\\.){0,4000}"')
_SINGLE = re.compile(r"'(?:[^'\\\n]|\\.){0,4000}'")
_BARE_KEY = re.compile(r"[^\W\d][^\n:：{}\[\],\"“”=]{0,200}")
_BARE_VALUE = re.compile(r"[^\s,{}\[\]\"“”:：][^,{}\[\]\"“”\n:：]{0,200}")
_SPACE = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class Bare:
    """A value written without quotes: a number, true, null or anything else."""

    text: str


@dataclass(frozen=True, slots=True)
class LooseObject:
    """Keys and values in the order written; a key may come twice."""

    pairs: tuple[tuple[str, LooseValue], ...]


@dataclass(frozen=True, slots=True)
class LooseArray:
    """Values in the order written."""

    items: tuple[LooseValue, ...]


LooseValue = str | Bare | LooseObject | LooseArray
"""A quoted string, something bare, an object or an array."""


@dataclass(slots=True)
class Found:
    """What a text holds.

    Attributes:
        values: Every complete outermost object (or array), in order.
        cut: The text ends inside one.
        broken_keys: Keys of those that begin well and then break off in something that is not JSON.
        noise: There are so many brackets that open nothing that the search was given up.
    """

    values: list[LooseObject | LooseArray] = field(default_factory=list)
    cut: bool = False
    broken_keys: list[str] = field(default_factory=list)
    noise: bool = False


class _Broken(Exception):
    """Not JSON from here on."""

    def __init__(self, at: int, deep: bool = False) -> None:
        super().__init__(at)
        self.at = at
        self.deep = deep


class _Cut(Exception):
    """The text ends before the value does."""


def find_objects(text: str) -> Found:
    """Every complete outermost JSON object in a text.

    Forgiven: prose and code fences around it, single or typographic quotes, keys without quotes (they must
    begin with a letter), a comma before the closing brace. Not forgiven: anything that leaves open what a
    value is, such as a missing comma or a number with a comma in it. Takes linear time. Never raises.

    Example:
        >>> found = find_objects("Sure {here} {'a': 5, b: 6,} and {\\"c\\": 1")
        >>> found.values
        [LooseObject(pairs=(('a', Bare(text='5')), ('b', Bare(text='6'))))]
        >>> found.cut
        True
    """
    return _find(text, "{")


def find_arrays(text: str) -> Found:
    """Every complete outermost JSON array in a text, as `find_objects` does for objects.

    Example:
        >>> find_arrays('In order: ["b", "a"].').values
        [LooseArray(items=('b', 'a'))]
    """
    return _find(text, "[")


def _find(text: str, opening: str) -> Found:
    found = Found()
    at = text.find(opening)
    n_broken = 0
    while at >= 0:
        keys: list[str] = []
        try:
            value, after = _container(text, at, 0, keys)
        except _Cut:
            found.cut = True
            return found
        except _Broken as broken:
            found.broken_keys += keys
            n_broken += 1
            if n_broken > _MAX_BROKEN:
                found.noise = True
                return found
            # What lies inside something broken is not trusted to be an answer, unless it broke before any
            # key.
            after = max(at + 1, broken.at) if keys or broken.deep else at + 1
        else:
            found.values.append(value)
        at = text.find(opening, after)
    return found


def _container(text: str, at: int, depth: int, keys: list[str]) -> tuple[LooseObject | LooseArray, int]:
    if depth >= _MAX_DEPTH:
        raise _Broken(at, deep=True)
    closing = "}" if text[at] == "{" else "]"
    pairs: list[tuple[str, LooseValue]] = []
    items: list[LooseValue] = []
    at = _skip(text, at + 1)
    while text[at] != closing:
        if closing == "}":
            key, at = _key(text, at)
            keys.append(key)
            value, at = _value(text, _skip(text, at), depth, keys)
            pairs.append((key, value))
        else:
            value, at = _value(text, at, depth, keys)
            items.append(value)
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
        elif text[at] != closing:
            raise _Broken(at)
    return (LooseObject(tuple(pairs)) if closing == "}" else LooseArray(tuple(items))), at + 1


def _key(text: str, at: int) -> tuple[str, int]:
    if text[at] in _QUOTES:
        key, at = _string(text, at)
    else:
        bare = _BARE_KEY.match(text, at)
        if bare is None:
            raise _Broken(at)
        key, at = bare.group().rstrip(), bare.end()
    at = _skip(text, at)
    if text[at] not in ":：":
        raise _Broken(at)
    return key, at + 1


def _value(text: str, at: int, depth: int, keys: list[str]) -> tuple[LooseValue, int]:
    if text[at] in "{[":
        return _container(text, at, depth + 1, keys)
    if text[at] in _QUOTES:
        return _string(text, at)
    bare = _BARE_VALUE.match(text, at)
    if bare is None:
        raise _Broken(at)
    return Bare(bare.group().rstrip()), bare.end()


def _string(text: str, at: int) -> tuple[str, int]:
    quote = text[at]
    if quote in "“‘":
        # str.find and not a regex: a page of opening quotes must not be scanned once per quote.
        end = text.find(_QUOTES[quote], at + 1, at + _MAX_STRING)
        if end < 0:
            raise _unclosed(text, at)
        return text[at + 1 : end], end + 1
    match = (_DOUBLE if quote == '"' else _SINGLE).match(text, at)
    if match is None:
        raise _unclosed(text, at)
    if quote == "'":
        return match.group()[1:-1].replace("\\'", "'"), match.end()
    try:
        return str(json.loads(match.group(), strict=False)), match.end()
    except ValueError:
        raise _Broken(at) from None


def _unclosed(text: str, at: int) -> Exception:
    rest = text[at : at + _MAX_STRING]
    return _Cut() if len(rest) < _MAX_STRING and "\n" not in rest else _Broken(at)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    at = match.end() if match else at
    if at >= len(text):
        raise _Cut
    return at
