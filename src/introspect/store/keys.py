"""Canonical JSON, and the hashes taken over it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from introspect.errors import StoreError

__all__ = ["checksum", "dumps", "loads", "step_key"]


def dumps(value: Any, what: str) -> str:
    """One JSON text per value: sorted keys, no spaces.

    Raises:
        StoreError: The value is not JSON; `what` says whose value it was.

    Example:
        >>> dumps({"b": 1, "a": [1.5, None]}, "the inputs")
        '{"a":[1.5,null],"b":1}'
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(
            f"{what} must be plain JSON (objects, lists, text, finite numbers, true, false, null): {error}. "
            f"Arrays belong in put_table; an undefined number is null."
        ) from error


def loads(text: str, what: str) -> Any:
    """Read JSON back.

    Raises:
        StoreError: The text is not JSON.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise StoreError(f"{what} is not JSON any more: {error}") from error


def checksum(*parts: str | bytes) -> bytes:
    """Sixteen bytes that change with any bit of any part, and with where one part ends."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.digest()


def step_key(name: str, inputs: Any, version: int) -> str:
    """What a step's result is found under: its name, the contents of its inputs and its version.

    Example:
        >>> step_key("fit", {"n": 1, "m": 2}, 1) == step_key("fit", {"m": 2, "n": 1}, 1)
        True
        >>> step_key("fit", {"n": 1}, 1) == step_key("fit", {"n": 1}, 2)
        False
    """
    return checksum(name, str(version), dumps(inputs, f"the inputs of step {name!r}")).hex()
