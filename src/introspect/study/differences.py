"""Where two protocols, or two results, differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["flat", "setting_changes"]


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of plain JSON by their path; lists count as leaves.

    Example:
        >>> dict(flat({"report": {"ask": {"reports": 3}}}))
        {'report.ask.reports': 3}
    """
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def setting_changes(before: Any, after: Any) -> list[str]:
    """What was changed, one setting a line.

    Example:
        >>> setting_changes({"report": {"ask": {"reports": 10}}}, {"report": {"ask": {"reports": 3}}})
        ['report.ask.reports: 10 -> 3']
    """
    old, new = dict(flat(before)), dict(flat(after))
    return [
        f"{key}: {old.get(key, 'not given')} -> {new.get(key, 'not given')}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]
