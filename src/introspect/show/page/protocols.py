"""What the protocols of a folder found: the claims of each, and its controls with their figures."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from introspect.errors import ConfigError, MissingExtraError
from introspect.measure import Interval
from introspect.show.controls import plot_control
from introspect.show.page.markup import items, picture, plain
from introspect.study.claims import Claim
from introspect.study.controls import ControlResult

__all__ = ["protocol_claims", "protocols_part"]


def protocol_claims(folder: Path, manifest: Mapping[str, Any]) -> str:
    """What every protocol that was run in a folder claims, each under its name; "" where none does.

    Args:
        folder: The study's folder.
        manifest: What its study file says of itself.
    """
    parts = []
    for name, result in _results(folder, manifest):
        if claims := [text for row in _rows(result, "claims") if (text := _claim(row))]:
            parts.append(f'<h2>Claims of protocol {plain(name)}</h2><ul class="claims">{items(claims)}</ul>')
    return "".join(parts)


def protocols_part(folder: Path, manifest: Mapping[str, Any]) -> str:
    """The controls of every protocol that was run in a folder; "" where none was.

    Args:
        folder: The study's folder.
        manifest: What its study file says of itself.
    """
    return "".join(_protocol(name, result) for name, result in _results(folder, manifest))


def _results(folder: Path, manifest: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    known = manifest.get("protocols")
    for name in known if isinstance(known, dict) else ():
        # A name is part of a path here, and the study file may come from anywhere.
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            continue
        try:
            result = json.loads((folder / name / "result.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue  # begun and not ended
        if isinstance(result, dict):
            yield name, result


def _protocol(name: str, result: Mapping[str, Any]) -> str:
    controls = [text for row in _rows(result, "controls") if (text := _control(row))]
    drawn = [text for text in controls if text.startswith("<figure")]
    parts = [f'<div class="figures">{"".join(drawn)}</div>'] if drawn else []
    parts += [text for text in controls if text not in drawn]
    return f"<h2>Controls of protocol {plain(name)}</h2>{''.join(parts)}" if parts else ""


def _rows(result: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    rows = result.get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _claim(row: dict[str, Any]) -> str:
    try:
        low, high, effect = (math.nan if row[k] is None else float(row[k]) for k in ("ci_low", "ci_high", "effect"))
        rest = {k: row[k] for k in ("finding", "holds", "alternative", "standing", "control")}
        return str(Claim(effect=effect, interval=Interval(low, high), excluded=tuple(row["excluded"]), **rest))
    except (KeyError, TypeError, ValueError):
        return ""


def _control(row: dict[str, Any]) -> str:
    try:
        found = ControlResult(**{**row, "rows": tuple(row["rows"])})
    except (KeyError, TypeError):
        return ""
    if found.state != "done":
        return f"<p>{plain(f'{found.word}: {found.state}: {found.reason}.')}</p>"
    try:
        out = BytesIO()
        plot_control(found).savefig(out, format="png", dpi=110)
        return picture("image/png", out.getvalue(), f"{found.word}: {found.sentence}")
    except (MissingExtraError, ConfigError, KeyError, TypeError, ValueError):
        return f"<p>{plain(f'{found.word}: {found.sentence}')}</p>"  # the figure is gone, what it says is not
