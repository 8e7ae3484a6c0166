"""How objects show themselves in a notebook: small tables, sentences, one line of figure. Plain text, escaped."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from introspect.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["frame_of", "html_lines", "html_table", "interval_figure"]

_CELL = 'style="text-align:left;padding:1px 8px;vertical-align:top"'


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


def frame_of(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A data frame of rows.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("pandas", "notebook") from None
    return pd.DataFrame(list(rows))


def _e(value: object) -> str:
    if isinstance(value, float):
        value = "–" if not math.isfinite(value) else f"{value:.3g}"
    return html.escape(str(value))
