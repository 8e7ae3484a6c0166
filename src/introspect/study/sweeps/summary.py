"""A sweep's results as rows, and by model and condition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import JsonValue

__all__ = ["arm_rows", "summary"]

_SHOWN = ("untuned", "instilled", "report-trained", "native-before", "native-after")
_ARM_FIELDS = ("pooled_r", "ci_low", "ci_high", "n_scenarios", "coverage", "choice_accuracy")


def arm_rows(told: Mapping[str, Any]) -> Iterable[dict[str, JsonValue]]:
    """One row for every arm of a study and for every condition of its controls."""
    key: dict[str, JsonValue] = {k: told[k] for k in ("backend", "seed", "condition")}
    result = told["result"]
    for arm in (result["study"] or {}).get("arms", []):
        yield {**key, "arm": arm["name"], **{f: arm.get(f) for f in _ARM_FIELDS}}
    for control in result["controls"]:
        for row in control["rows"]:
            yield {
                **key, "arm": f"{control['word']}: {row['condition']}", "pooled_r": row.get("r"),
                "ci_low": row.get("ci_low"), "ci_high": row.get("ci_high"), "n_scenarios": row.get("n_contexts"),
                "coverage": row.get("coverage"),
            }  # fmt: skip


def summary(rows: Sequence[Mapping[str, JsonValue]]) -> list[str]:
    """Mean r over seeds of a study's own arms, one line a model and condition.

    Example:
        >>> row = {"backend": "m", "seed": 0, "condition": "c", "arm": "instilled", "pooled_r": 0.5}
        >>> summary([row, {**row, "seed": 1, "pooled_r": 0.7}])[1].split()
        ['m', 'c', '+0.60', '(2)']
    """
    own = [r for r in rows if r["arm"] in _SHOWN and isinstance(r["pooled_r"], float)]
    if not own:
        return []
    arms = [arm for arm in _SHOWN if any(r["arm"] == arm for r in own)]
    groups = list(dict.fromkeys((str(r["backend"]), str(r["condition"])) for r in own))
    wide, broad = (max(len(g[k]) for g in (*groups, ("model", "condition"))) for k in (0, 1))
    lines = [f"{'model':<{wide}}  {'condition':<{broad}}" + "".join(f"{a:>16}" for a in arms)]
    for backend, condition in groups:
        cells = []
        for arm in arms:
            found = [
                float(r["pooled_r"]) for r in own  # type: ignore[arg-type]
                if (r["backend"], r["condition"], r["arm"]) == (backend, condition, arm)
            ]  # fmt: skip
            cells.append(f"{np.mean(found):+.2f} ({len(found)})" if found else "-")
        lines.append(f"{backend:<{wide}}  {condition:<{broad}}" + "".join(f"{c:>16}" for c in cells))
    return lines
