"""The folder that a study wrote to, as pages and cards find it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from introspect.errors import StoreError

__all__ = ["study_file", "versions_of"]


def study_file(folder: Path) -> Path:
    """The study's database.

    Raises:
        StoreError: There is none; where the folder above holds one, it is named.
    """
    file = folder / "study.db"
    if file.is_file():
        return file
    above = folder.resolve().parent
    give = f"give {above}" if (above / "study.db").is_file() else "give the folder that a study wrote to"
    raise StoreError(f"{folder} holds no study: there is no study.db in it; {give}")


def versions_of(manifest: Mapping[str, Any]) -> str:
    """Versions of introspect that a study was run with.

    Example:
        >>> versions_of({"surroundings": [{"introspect": "0.1.0"}, {"introspect": "0.2.0"}, {"introspect": "0.1.0"}]})
        '0.1.0, 0.2.0'
        >>> versions_of({})
        'of a version that it does not say'
    """
    runs = manifest.get("surroundings") or [{"introspect": manifest.get("introspect")}]
    known = dict.fromkeys(str(run["introspect"]) for run in runs if run.get("introspect"))
    return ", ".join(known) or "of a version that it does not say"
