"""Figures of studies of internals: who answers how well, beside the floors."""

from __future__ import annotations

import math
from typing import Any

from introspect.errors import MeasureError
from introspect.show.drawn import COLOURS, Drawn, blank, number, tidy_axis

__all__ = ["plot_internals"]

_FLOORS = ("no vector", "shuffled vector", "majority", "correct answer", "hint letter")
_BOUNDS = ("one more question",)
# What an arm is: colour, marker, and what the legend calls it.
_LOOKS = {
    "explainer": (COLOURS[0], "o", "explainer, or the model itself"),
    "floor": (COLOURS[1], "s", "floor"),
    "bound": (COLOURS[2], "^", "upper bound"),
    "other": ("0.5", "D", "other baseline"),
}


def plot_internals(rows: Any, figure: str = "exact") -> Drawn:
    """A mark with its interval for every arm: explainer blue dot, floors orange squares, other baselines grey diamonds.

    An arm whose rows have no interval (too few groups) is a mark alone.

    Args:
        rows: Of `InternalsResult.rows`, or mappings with "arm", "split", "figure", "value", "low" and "high".
        figure: Which figure.

    Raises:
        MeasureError: No row has that figure.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> rows = [{"arm": a, "split": "test", "figure": "exact", "value": v, "low": v - 0.1, "high": v + 0.1}
        ...         for a, v in (("explainer", 0.6), ("no vector", 0.3))]
        >>> len(plot_internals(rows).data)
        2
    """
    table = [dict(row) for row in rows if row.get("figure") == figure]
    if not table:
        raise MeasureError(
            f"no row has the figure {figure!r}; there are {sorted({str(r.get('figure')) for r in rows})}"
        )
    splits = list(dict.fromkeys(str(row["split"]) for row in table))
    arms = list(dict.fromkeys(str(row["arm"]) for row in table))
    drawing, axes = blank(2.2 + 3.2 * len(splits), 1.4 + 0.34 * len(arms), len(splits), sharey=True)
    for axis, split in zip(axes, splits, strict=True):
        for row in (r for r in table if r["split"] == split):
            place = len(arms) - 1 - arms.index(str(row["arm"]))
            colour, marker, _ = _LOOKS[_kind(str(row["arm"]))]
            low, high = number(row.get("low")), number(row.get("high"))
            axis.plot([low, high], [place, place], color=colour, lw=2)
            axis.plot([number(row["value"])], [place], color=colour, marker=marker, ms=6)
        axis.set_xlim(min([-0.02, *(number(r.get("low")) - 0.05 for r in table)]), 1.02)
        axis.set_yticks(range(len(arms)), arms[::-1], fontsize=9)
        axis.set_xlabel(_title(figure, table), fontsize=10)
        axis.set_title(split, fontsize=10)
        axis.grid(axis="x", color="0.92", lw=0.8)
        tidy_axis(axis)
    kinds = [kind for kind in _LOOKS if kind in {_kind(arm) for arm in arms}]
    _legend(drawing, kinds, len(splits))
    caption = f"{_title(figure, table)}, every arm, 95 % intervals over groups"
    if any(math.isnan(number(row.get("low"))) for row in table):
        caption += " (no bar: none can be given)"
    return Drawn(drawing, table, caption + ".")


def _kind(arm: str) -> str:
    if arm in ("explainer", "self"):
        return "explainer"
    return "floor" if arm in _FLOORS else "bound" if arm in _BOUNDS else "other"


def _legend(drawing: Any, kinds: list[str], panels: int) -> None:
    """Above the panels: on two lines where there is one panel only."""
    from matplotlib.lines import Line2D

    looks = [_LOOKS[kind] for kind in kinds]
    drawing.legend(
        handles=[Line2D([], [], color=colour, marker=marker, lw=2, label=label) for colour, marker, label in looks],
        loc="outside upper center", ncols=len(kinds) if panels > 1 else 2, fontsize=8, frameon=False,
    )  # fmt: skip


def _title(figure: str, table: list[dict[str, Any]]) -> str:
    """The figure's name, with the number of candidates where labels are retrieved."""
    fewest = [int(row["fewest candidates"]) for row in table if row.get("fewest candidates") is not None]
    most = [int(row["most candidates"]) for row in table if row.get("most candidates") is not None]
    if not fewest or not most:
        return figure
    return f"{figure} among {min(fewest)}" + (f" to {max(most)}" if max(most) > min(fewest) else "")
