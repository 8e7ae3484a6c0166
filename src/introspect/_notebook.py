"""How objects show themselves in a notebook: small tables, sentences, one line of figure. Plain text, escaped."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from introspect.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "InNotebook",
    "frame_of",
    "html_lines",
    "html_rows",
    "html_table",
    "interval_figure",
    "r_words",
    "short_repr",
]

_CELL = 'style="text-align:left;padding:1px 8px;vertical-align:top"'


class InNotebook:
    """Shows itself by its sentences where a notebook's cell ends in it."""

    def sentences(self) -> Sequence[str]:
        """What it says."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return html_lines(type(self).__name__, self.sentences())


def short_repr(thing: object, text: str) -> str:
    """A repr of one line, whatever the thing holds.

    Example:
        >>> short_repr(3, "of a kind"), len(short_repr(3, "x" * 1000))
        ('int(of a kind)', 245)
    """
    text = " ".join(text.split())
    return f"{type(thing).__name__}({text if len(text) <= 240 else text[:237] + '...'})"


def r_words(r: float, low: float, high: float) -> str:
    """r and its interval, as short as can be.

    Example:
        >>> r_words(0.4, 0.2, 0.55), r_words(math.nan, math.nan, math.nan)
        ('r = +0.40 [+0.20, +0.55]', 'r undefined')
    """
    if not math.isfinite(r):
        return "r undefined"
    return f"r = {r:+.2f}" + (f" [{low:+.2f}, {high:+.2f}]" if math.isfinite(low) and math.isfinite(high) else "")


def html_rows(title: str, rows: Sequence[Mapping[str, object]], note: str = "", most: int = 20) -> str:
    """The first rows of a table, and how many more there are.

    Example:
        >>> "and 1 more" in html_rows("t", [{"a": 1}, {"a": 2}], most=1)
        True
    """
    more = f"and {len(rows) - most} more. " if len(rows) > most else ""
    names = list(rows[0]) if rows else []
    return html_table(
        title, names, ([row.get(name, "") for name in names] for row in rows[:most]), (more + note).strip()
    )


def html_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]], note: str = "") -> str:
    """A titled table.

    Example:
        >>> "&lt;b&gt;" in html_table("t", ["x"], [["<b>"]])
        True
    """
    top = "".join(f"<th {_CELL}>{_e(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td {_CELL}>{_e(cell)}</td>' for cell in row)}</tr>" for row in rows)
    below = f"<div><small>{_e(note)}</small></div>" if note else ""
    return f"<div><b>{_e(title)}</b><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>{below}</div>"


def html_lines(title: str, lines: Iterable[str], figure: str = "") -> str:
    """A title, a figure where there is one, and sentences."""
    said = "".join(f"<li>{_e(line)}</li>" for line in lines)
    return f'<div><b>{_e(title)}</b>{figure}<ul style="margin:4px 0">{said}</ul></div>'


def interval_figure(
    r: float, low: float, high: float, null: tuple[float, float] = (math.nan, math.nan), ceiling: float = math.nan
) -> str:
    """r with its interval on a line from -1 to 1, the null's band behind it and the ceiling: SVG, needs no library.

    Example:
        >>> interval_figure(0.4, 0.2, 0.6).startswith('<svg')
        True
    """

    def x(value: float) -> float:
        return round(160 + 150 * max(-1.0, min(1.0, value)), 1)

    parts = []
    if all(map(math.isfinite, null)):
        parts.append(f'<rect x="{x(null[0])}" y="6" width="{x(null[1]) - x(null[0]):.1f}" height="18" fill="#8884"/>')
    parts.append('<path d="M10 30H310M160 26V34M10 27V33M310 27V33" stroke="currentColor" fill="none" opacity=".6"/>')
    for place, text in ((10, "−1"), (160, "0"), (310, "1")):
        parts.append(f'<text x="{place}" y="44" font-size="10" text-anchor="middle" fill="currentColor">{text}</text>')
    if math.isfinite(ceiling):
        parts.append(f'<path d="M{x(ceiling)} 5V25" stroke="currentColor" stroke-width="2"/>')
    if math.isfinite(low) and math.isfinite(high):
        parts.append(f'<path d="M{x(low)} 15H{x(high)}" stroke="#0072B2" stroke-width="3"/>')
    if math.isfinite(r):
        parts.append(f'<circle cx="{x(r)}" cy="15" r="5" fill="#0072B2"/>')
    told = f"r {r:.2f}" if math.isfinite(r) else "r undefined"
    return f'<svg width="320" height="48" role="img" aria-label="{told}" style="display:block">{"".join(parts)}</svg>'


def frame_of(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A data frame of rows; with the given columns even where there is no row.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("pandas", "notebook") from None
    return pd.DataFrame(list(rows), columns=None if columns is None else list(columns))


def _e(value: object) -> str:
    if value is None:
        value = "–"
    if isinstance(value, float):
        value = "–" if not math.isfinite(value) else f"{value:.3g}"
    return html.escape(str(value))
