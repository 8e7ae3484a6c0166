"""Figures of plain tables: lists of rows, or data frames, from wherever they come."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from introspect.errors import MeasureError
from introspect.show.drawn import COLOURS, MARKERS, Drawn, blank, number, tidy_axis

__all__ = ["plot_design_efficiency", "plot_dose", "plot_privileged_access", "plot_trajectory"]


def plot_trajectory(rows: Any, x: str = "step", y: str = "r", by: str = "arm") -> Drawn:
    """How a number moves during training: a line per arm, a band where rows have ``low`` and ``high``.

    Args:
        rows: Mappings or a data frame with the columns `x` and `y`, and where there are several lines, `by`.
        x: What is on the horizontal axis.
        y: What is measured.
        by: What the lines are told apart by.

    Raises:
        MeasureError: A column is missing, or there are no rows.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> drawn = plot_trajectory([{"step": 0, "r": 0.1}, {"step": 50, "r": 0.4, "low": 0.2, "high": 0.6}])
        >>> drawn.caption
        'r by step.'
    """
    return _lines(_table(rows, (x, y)), x, y, by, log=False)


def plot_dose(rows: Any, x: str = "examples", y: str = "r", by: str = "arm") -> Drawn:
    """How much of something gives how much of an effect: `plot_trajectory` on a log axis where doses span tenfold.

    Args:
        rows: As in `plot_trajectory`.
        x: The dose.
        y: The effect.
        by: What the lines are told apart by.

    Raises:
        MeasureError: A column is missing, or there are no rows.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> plot_dose([{"examples": 10, "r": 0.1}, {"examples": 1000, "r": 0.5}]).data[1]["r"]
        0.5
    """
    table = _table(rows, (x, y))
    doses = [number(row[x]) for row in table]
    log = all(dose > 0 for dose in doses) and max(doses) >= 10 * min(doses)
    return _lines(table, x, y, by, log=log)


def plot_design_efficiency(rows: Any, x: str = "trials", y: str = "error", by: str = "design") -> Drawn:
    """What a number of trials gives under each design; lower is better where `y` is an error.

    Args:
        rows: Mappings or a data frame with the columns `x`, `y` and `by`, ``low`` and ``high`` where known.
        x: Trials per context.
        y: What is to be small (or large).
        by: The design.

    Raises:
        MeasureError: A column is missing, or there are no rows.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> rows = [{"design": d, "trials": n, "error": e} for d, n, e in [("random", 20, 9.0), ("d-optimal", 20, 6.5)]]
        >>> len(plot_design_efficiency(rows).data)
        2
    """
    return _lines(_table(rows, (x, y, by)), x, y, by, log=True)


def plot_privileged_access(rows: Any, row: str = "reports of", column: str = "weights of", y: str = "r") -> Drawn:
    """Does a model know itself better than another knows it? A heat map with the number in every cell.

    Privileged access shows as a diagonal (framed) that is higher than the rest of its *column*: who tells these weights
    best?

    Args:
        rows: Mappings or a data frame: one row per pair of models.
        row: Who reports.
        column: Whose weights are told.
        y: How well.

    Raises:
        MeasureError: A column is missing, or there are no rows.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> cells = [{"reports of": a, "weights of": b, "r": 0.6 if a == b else 0.2} for a in "AB" for b in "AB"]
        >>> plot_privileged_access(cells).caption.split(". ")[1]
        '2 of 2 models tell their own weights best.'
    """
    table = _table(rows, (row, column, y))
    across = list(dict.fromkeys(str(one[column]) for one in table))
    down = list(
        dict.fromkeys(
            [*(name for name in across if name in {str(r[row]) for r in table}), *(str(r[row]) for r in table)]
        )
    )
    cells = {(str(one[row]), str(one[column])): number(one[y]) for one in table}
    figure, (axis,) = blank(1.9 + 0.85 * len(across), 1.5 + 0.6 * len(down))
    grid = [[cells.get((d, a), math.nan) for a in across] for d in down]
    picture = axis.imshow(
        grid, cmap="cividis", vmin=min(0.0, *(v for v in cells.values() if math.isfinite(v)), 0.0), vmax=1
    )
    for i, d in enumerate(down):
        for j, a in enumerate(across):
            value = grid[i][j]
            dark = math.isfinite(value) and value < 0.55
            axis.text(j, i, f"{value:.2f}" if math.isfinite(value) else "–", ha="center", va="center", fontsize=9,
                      color="white" if dark else "black")  # fmt: skip
            if d == a:
                axis.add_patch(_frame(j, i))
    axis.set_xticks(range(len(across)), across, rotation=30, ha="right", fontsize=9)
    axis.set_yticks(range(len(down)), down, fontsize=9)
    axis.set_xlabel(column, fontsize=10)
    axis.set_ylabel(row, fontsize=10)
    figure.colorbar(picture, ax=axis, shrink=0.8, label=y)
    own = [name for name in across if (name, name) in cells]
    best = sum(cells[(n, n)] >= max(v for (_, c), v in cells.items() if c == n and math.isfinite(v)) for n in own)
    caption = f"{y} of reports with weights, by who reports and whose weights; framed: of itself. "
    return Drawn(figure, table, caption + f"{best} of {len(own)} models tell their own weights best.")


def _frame(x: int, y: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, fill=False, ec=COLOURS[1], lw=2.4)


def _lines(table: list[dict[str, Any]], x: str, y: str, by: str, log: bool) -> Drawn:
    figure, (axis,) = blank(5.4, 3.5)
    names = list(dict.fromkeys(str(row.get(by, "")) for row in table))
    for k, name in enumerate(names):
        rows = sorted((row for row in table if str(row.get(by, "")) == name), key=lambda row: number(row[x]))
        colour, marker = COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]
        places, values = [number(row[x]) for row in rows], [number(row[y]) for row in rows]
        axis.plot(places, values, color=colour, marker=marker, ms=5, lw=1.8, label=name)
        ends = [(number(row.get("low")), number(row.get("high"))) for row in rows]
        if any(math.isfinite(low) for low, _ in ends):
            axis.fill_between(places, [e[0] for e in ends], [e[1] for e in ends], color=colour, alpha=0.16, lw=0)
    if log:
        axis.set_xscale("log")
        places = sorted({number(row[x]) for row in table})
        if len(places) <= 10:  # the values themselves, and no powers of ten
            axis.set_xticks(places, [f"{place:g}" for place in places])
            axis.minorticks_off()
    axis.set_xlabel(x, fontsize=10)
    axis.set_ylabel(y, fontsize=10)
    if len(names) > 1 or names[0]:
        axis.legend(fontsize=8, frameon=False)
    axis.grid(axis="y", color="0.92", lw=0.8)
    tidy_axis(axis)
    bands = "; bands: from low to high" if any("low" in row and row["low"] is not None for row in table[:1]) else ""
    return Drawn(figure, table, f"{y} by {x}{bands}.")


def _table(rows: Any, columns: Iterable[str]) -> list[dict[str, Any]]:
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):  # a data frame, without importing pandas
        rows = rows.to_dict("records")
    table = [dict(row) for row in rows if isinstance(row, Mapping)]
    if not table:
        raise MeasureError("there are no rows to draw: give a list of mappings or a data frame")
    for column in columns:
        missing = next((row for row in table if column not in row), None)
        if missing is not None:
            raise MeasureError(
                f"a row has no column {column!r}; it has {', '.join(map(str, missing))}. Name the columns to draw, "
                f"as in x={next(iter(missing), 'column')!r}"
            )
    return table
