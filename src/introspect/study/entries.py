"""What a folder writes down of the protocols that were run in it: an entry for each protocol on each model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from introspect._version import __version__
from introspect.backend.wire import ModelRef
from introspect.study.differences import setting_changes
from introspect.study.protocols import Protocol

__all__ = ["entry_changes", "entry_of", "name_of", "place_of"]

Entry = Mapping[str, Any]


def entry_of(protocol: Protocol, model: ModelRef) -> dict[str, Any]:
    """A run of a protocol on a model, as plain JSON. Paths in it are for people; `contents` says what lay there."""
    return {
        "model": str(model),
        "identity": model.identity(),
        "hash": protocol.hash,
        "introspect": __version__,
        "protocol": protocol.model_dump(mode="json", exclude={"about"}),
        "contents": protocol.contents(),
    }


def name_of(place: str, entry: Entry) -> str:
    """What the protocol of an entry is called."""
    return str(entry.get("protocol", {}).get("name", place))


def place_of(entries: Mapping[str, Entry], name: str, model: ModelRef) -> str:
    """The folder that a protocol's results on a model have within a folder of runs, and its key in the manifest.

    The first model of a protocol has the protocol's name, and any other its own name behind it, with a piece of the
    hash of what it is: results of one model never replace those of another.

    Example:
        >>> first, other = (ModelRef(provider="simulated", model=m) for m in ("one", "two"))
        >>> place_of({}, "mine", first)
        'mine'
        >>> entries = {"mine": {"identity": first.identity(), "protocol": {"name": "mine"}}}
        >>> place_of(entries, "mine", first), place_of(entries, "mine", other)
        ('mine', 'mine-simulated-two-71e2c52c')
    """
    identity = model.identity()
    for place, entry in entries.items():
        if name_of(place, entry) == name and entry.get("identity") == identity:
            return place
    if name not in entries:
        return name
    # Of a folder of weights only its own name: where it lies is nobody's business.
    shown = re.sub(r"[^A-Za-z0-9.]+", "-", f"{model.provider}-{Path(model.model).name}").strip("-.")[:60]
    wanted = f"{name}-{shown}-{model.key[:8]}"
    return next(place for k in count(1) if (place := wanted if k == 1 else f"{wanted}-{k}") not in entries)


def entry_changes(before: Entry, after: Entry) -> list[str]:
    """Where the protocols of two entries differ, one setting a line. A file that only lies elsewhere is the same."""
    old, new = dict(before.get("contents") or {}), dict(after.get("contents") or {})
    changes = []
    for line in setting_changes(before["protocol"], after["protocol"]):
        key = line.partition(": ")[0]
        if key not in old or old.get(key) != new.get(key):
            changes.append(line)
            old.pop(key, None)
    return changes + [
        f"{key}: the file says something else" for key, told in new.items() if key in old and old[key] != told
    ]
