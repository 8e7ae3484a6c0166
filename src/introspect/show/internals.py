"""Figures of studies of internals: who answers how well, beside the floors."""

from __future__ import annotations

from typing import Any

from introspect.errors import MeasureError
from introspect.show.drawn import COLOURS, Drawn, blank, number, tidy_axis

__all__ = ["plot_internals"]

_FLOORS = ("no vector", "shuffled vector", "majority", "correct answer", "hint letter")
_BOUNDS = ("one more question",)


def plot_internals(rows: Any, figure: str = "exact") -> Drawn:
    """A dot with its interval for every arm: the explainer blue, its floors orange, other baselines grey.

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
    drawing, axes = blank(2.2 + 3.2 * len(splits), 1.1 + 0.34 * len(arms), len(splits), sharey=True)
    for axis, split in zip(axes, splits, strict=True):
        for row in (r for r in table if r["split"] == split):
            name = str(row["arm"])
            place = len(arms) - 1 - arms.index(name)
            colour = COLOURS[0] if name in ("explainer", "self") else COLOURS[1] if name in _FLOORS else "0.55"
            colour = COLOURS[2] if name in _BOUNDS else colour
            low, high = number(row.get("low")), number(row.get("high"))
            axis.plot([low, high], [place, place], color=colour, lw=2)
            axis.plot([number(row["value"])], [place], color=colour, marker="o", ms=6)
        axis.set_xlim(min([-0.02, *(number(r.get("low")) - 0.05 for r in table)]), 1.02)
        axis.set_yticks(range(len(arms)), arms[::-1], fontsize=9)
        axis.set_xlabel(_title(figure, table), fontsize=10)
        axis.set_title(split, fontsize=10)
        axis.grid(axis="x", color="0.92", lw=0.8)
        tidy_axis(axis)
    colours = "blue: the explainer, or the model itself; orange: floors"
    caption = f"{_title(figure, table)}, every arm, 95 % intervals over groups; {colours}."
    return Drawn(drawing, table, caption)


def _title(figure: str, table: list[dict[str, Any]]) -> str:
    """The figure's name, with the number of candidates where labels are retrieved."""
    fewest = [int(row["fewest candidates"]) for row in table if row.get("fewest candidates") is not None]
    most = [int(row["most candidates"]) for row in table if row.get("most candidates") is not None]
    if not fewest or not most:
        return figure
    return f"{figure} among {min(fewest)}" + (f" to {max(most)}" if max(most) > min(fewest) else "")
