"""A figure for every control."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from introspect.errors import ConfigError
from introspect.show.drawn import number, own_figure
from introspect.study.controls import ControlResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_control"]

_CHANCE = "97.5 % of r's with reports dealt elsewhere"
_INK, _OWN, _OTHER, _PALE = "#30353d", "#1f6f8b", "#d1743b", "#8a8f98"


def plot_control(result: ControlResult, path: Path | str | None = None) -> Figure:
    """The figure of a control: its table, and under it what it means.

    Args:
        result: A control that was done.
        path: Where to save it, as PNG, PDF or SVG by its ending; not saved if None.

    Returns:
        The matplotlib figure.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ConfigError: The control was not done, or the path's ending is no picture format.
    """
    if result.state != "done":
        raise ConfigError(f"control {result.word!r} has no figure: it is {result.state}: {result.reason}")
    figure = own_figure()
    _PLOTS.get(result.word, plot_conditions)(figure, result)
    # Characters that fit on a line of an inch's width, in either size.
    title = _wrapped(f"{result.word}: {result.question}", int(9.6 * figure.get_figwidth()))
    figure.suptitle(title, fontsize=10, x=0.01, ha="left", weight="bold")
    width = int(14.5 * figure.get_figwidth())
    figure.supxlabel(_wrapped(result.sentence, width), fontsize=8.5, color=_INK, x=0.01, ha="left")
    if path is not None:
        try:
            figure.savefig(path, dpi=150)
        except (ValueError, OSError) as error:
            raise ConfigError(f"the figure cannot be saved as {path}: {error}") from None
    return figure


def plot_conditions(figure: Figure, result: ControlResult) -> None:
    """One line a condition: r with its interval, and how far chance would reach. What could not be scored says so."""
    rows = list(result.rows)
    figure.set_size_inches(8, 1.9 + 0.32 * len(rows))
    axis = figure.subplots()
    axis.axvline(0, color="0.8", lw=0.8, zorder=0)
    ends = [number(row.get(key)) for row in rows for key in ("r", "ci_low")]
    left = min([-0.3, *(end - 0.05 for end in ends if math.isfinite(end))])
    for place, row in enumerate(rows):
        if not isinstance(row.get("r"), float):
            _unscored(axis, row, place)
            continue
        _interval(axis, row, place, _OTHER if place == 0 else _OWN, "s" if place == 0 else "o")
        null = row.get("null_high")
        if isinstance(null, float):
            axis.barh(place, null - left, left=left, height=0.5, color="0.9", zorder=0)
    _places(axis, rows)
    axis.set_xlim(left, 1.05)
    axis.set_xlabel("r of reports and measured weights, 95 % interval\n" + f"(grey: {_CHANCE})", fontsize=8)
    _plain(axis)


def plot_dose(figure: Figure, result: ControlResult) -> None:
    """One panel an axis: r against the dose."""
    axes_names = list(dict.fromkeys(str(row["axis"]) for row in result.rows))
    figure.set_size_inches(max(8.0, 2.3 * len(axes_names)), 3.4)
    axes = figure.subplots(1, len(axes_names), sharey=True, squeeze=False)[0]
    for axis, name in zip(axes, axes_names, strict=True):
        rows = [row for row in result.rows if row["axis"] == name]
        _line(axis, rows, "r", _OWN)
        doses = sorted({number(row["x"]) for row in rows})
        if len(doses) <= 5:  # those that were given, and no others
            axis.set_xticks(doses, [f"{dose:g}" for dose in doses])
        axis.set_xlabel(name if name in ("examples", "reports") else f"share of {name}", fontsize=9)
    axes[0].set_ylabel("held-out r\n(grey: 97.5 % of r's with\nreports dealt elsewhere)", fontsize=8)


def plot_rules(figure: Figure, result: ControlResult) -> None:
    """One bar a rule: how well it foretells choices that it was not fitted to."""
    _shares(figure, result, "probability that the rule gives a held-out choice (geometric mean)", "value")


def plot_self_prediction(figure: Figure, result: ControlResult) -> None:
    """One bar a foreteller: the share of the model's single choices that it gets right."""
    _shares(figure, result, "share of the model's single choices foretold (95 % interval over contexts)", "value")


def plot_disposition(figure: Figure, result: ControlResult) -> None:
    """What each twin does, and what it says of itself."""
    _shares(figure, result, "share of risky gambles taken, and how far it says so", "does", "value")


def _shares(figure: Figure, result: ControlResult, label: str, *fields: str) -> None:
    """Bars from 0 to 1, one or two a row, with intervals where there are any."""
    rows = list(result.rows)
    figure.set_size_inches(8, 1.9 + 0.42 * max(1, len(rows)))
    axis = figure.subplots()
    places, colours, names = np.arange(len(rows)), (_OTHER, _OWN), ("does", "says")
    for k, field in enumerate(fields):
        width = 0.7 / len(fields)
        # A bar of length 0 would say that there are none.
        values = [number(row.get(field)) for row in rows]
        shift = (k - (len(fields) - 1) / 2) * width
        axis.barh(places + shift, values, width * 0.9, color=colours[k] if len(fields) > 1 else _OWN, label=names[k])
    for place, row in enumerate(rows):
        low, high = row.get("value_low"), row.get("value_high")
        if isinstance(low, float) and isinstance(high, float):
            axis.plot([low, high], [place, place], color=_INK, lw=1.4)
        if not any(isinstance(row.get(field), float) for field in fields):
            _unscored(axis, row, place)
    _places(axis, rows)
    axis.set_xlim(0, 1)
    axis.set_xlabel(label, fontsize=8.5)
    if len(fields) > 1:
        axis.axvline(0.5, color="0.8", lw=0.8, zorder=0)
        _legend_above(axis)
    _plain(axis)


def plot_temperature(figure: Figure, result: ControlResult) -> None:
    """r and coverage against the temperature."""
    figure.set_size_inches(8, 3.4)
    axis = figure.subplots()
    _line(axis, result.rows, "r", _OWN, "held-out r")
    _line(axis, result.rows, "coverage", _PALE, "contexts with a usable report", "D:")
    axis.set_xlabel("temperature of the reports", fontsize=9)
    _legend_above(axis)


def plot_trajectory(figure: Figure, result: ControlResult) -> None:
    """Behaviour, reports and coverage as instilling goes on."""
    figure.set_size_inches(8, 3.4)
    axis = figure.subplots()
    _line(axis, result.rows, "learned_vs_target_r", _OTHER, "choices: r with the target", "s--")
    _line(axis, result.rows, "r", _OWN, "reports: r with the weights")
    _line(axis, result.rows, "coverage", _PALE, "contexts with a usable report", "D:")
    axis.set_xlabel("share of the instilling steps", fontsize=9)
    _legend_above(axis)


def plot_grounding(figure: Figure, result: ControlResult) -> None:
    """Where behaviour was changed and where not: r of the reports with behaviour now, and with the old lesson."""
    rows = list(result.rows)
    figure.set_size_inches(8, 1.8 + 0.5 * len(rows))
    axis = figure.subplots()
    axis.axvline(0, color="0.8", lw=0.8, zorder=0)
    places = np.arange(len(rows))
    for shift, field, colour, label in (
        (-0.17, "r", _OWN, "with behaviour now"),
        (0.17, "old_r", _OTHER, "with the old lesson"),
    ):
        axis.barh(places + shift, [number(row.get(field)) for row in rows], 0.3, color=colour, label=label)
    for place, row in enumerate(rows):
        if not isinstance(row.get("r"), float):
            _unscored(axis, row, place)
        for shift, low, high in ((-0.17, "ci_low", "ci_high"), (0.17, "old_low", "old_high")):
            axis.plot([number(row.get(low)), number(row.get(high))], [place + shift] * 2, color=_INK, lw=1.4)
    _places(axis, rows)
    axis.set_xlim(-1, 1)
    axis.set_xlabel("r of the reports (95 % interval)", fontsize=9)
    _legend_above(axis)
    _plain(axis)


def _line(axis: Any, rows: Sequence[Any], field: str, colour: str, label: str | None = None, look: str = "o-") -> None:
    """A line of its own marker and stroke, so that it is told apart where there is no colour."""
    known = [row for row in rows if isinstance(row.get(field), float)]
    x, y = [row["x"] for row in known], [row[field] for row in known]
    axis.plot(x, y, look, color=colour, ms=4, lw=1.4, label=label)
    if field == "r":
        ends = [(row["x"], row["ci_low"], row["ci_high"]) for row in known if isinstance(row["ci_low"], float)]
        if ends:
            at, low, high = zip(*ends, strict=True)
            axis.fill_between(at, low, high, color=colour, alpha=0.15, lw=0)
        chance = [(row["x"], row["null_high"]) for row in known if isinstance(row.get("null_high"), float)]
        if chance:
            at, high = zip(*chance, strict=True)
            axis.fill_between(at, -0.3, high, color="0.93", lw=0, zorder=-1, label=_CHANCE)
    axis.axhline(0, color="0.8", lw=0.8, zorder=0)
    axis.set_ylim(-0.3, 1.05)
    _plain(axis)


def _places(axis: Any, rows: Sequence[Any]) -> None:
    """One line a row, from above, with room at both ends: what lies on the frame is cut."""
    axis.set_yticks(range(len(rows)), [str(row["condition"]) for row in rows], fontsize=8.5)
    axis.set_ylim(len(rows) - 0.4, -0.6)


def _unscored(axis: Any, row: Any, place: int) -> None:
    """Why there is nothing to see on a line: left out, it would not be missed."""
    note = str(row.get("note") or "no r: too few usable reports")
    text = note.partition(":")[0] if note.startswith("not applicable") else note
    axis.text(
        0.01, place, text, transform=axis.get_yaxis_transform(), fontsize=8, color=_PALE, va="center", style="italic",
        bbox={"facecolor": "white", "linewidth": 0, "pad": 1},
    )  # fmt: skip


def _legend_above(axis: Any) -> None:
    """Outside of the bars, wherever these end, and no wider than they are."""
    several = 2 if len(axis.get_legend_handles_labels()[0]) != 3 else 3
    axis.legend(frameon=False, fontsize=8, ncols=several, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.1)


def _interval(axis: Any, row: Any, place: int, colour: str, marker: str) -> None:
    if isinstance(row["ci_low"], float):
        axis.plot([row["ci_low"], row["ci_high"]], [place, place], color=colour, lw=1.6, zorder=2)
    axis.plot([row["r"]], [place], marker, color=colour, ms=5, zorder=3)


def _plain(axis: Any) -> None:
    axis.tick_params(labelsize=8)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _wrapped(text: str, width: int) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width))


_PLOTS: dict[str, Callable[[Any, ControlResult], None]] = {
    "dose": plot_dose,
    "temperature": plot_temperature,
    "trajectory": plot_trajectory,
    "grounding": plot_grounding,
    "rules": plot_rules,
    "self-prediction": plot_self_prediction,
    "disposition": plot_disposition,
}
