"""Reported against measured weights, before and after report training."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from introspect.errors import ConfigError
from introspect.show.bands import band_of
from introspect.show.drawn import own_figure
from introspect.study.arms import Arm
from introspect.study.result import StudyResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_reports"]

_TITLES = {
    "untuned": "Untuned",
    "instilled": "Choices instilled",
    "report-trained": "… and reports trained\non other contexts",
    "native-before": "Native preferences,\nbefore report training",
    "native-after": "Native preferences,\nafter report training",
}
_COLOURS = {
    "untuned": "#8a8f98", "instilled": "#d1743b", "report-trained": "#1f6f8b",
    "native-before": "#d1743b", "native-after": "#1f6f8b",
}  # fmt: skip


def plot_reports(result: StudyResult, path: Path | str | None = None) -> Figure:
    """One panel per arm: what the model says a weight is (y) against what its choices show it to be (x).

    Every dot is one weight of one context of one seed, max-normalised per context to +-100. The line through the
    origin is a perfect report. Above each panel: the pooled r with its 95 % interval. Below it: the share of contexts
    that could be scored, the r that the noise of measuring leaves possible, and where 95 % of the r's lie when reports
    are dealt out to other contexts.

    Args:
        result: A study's result.
        path: Where to save it, as PNG, PDF or SVG by its ending; not saved if None.

    Returns:
        The matplotlib figure.

    Raises:
        MissingExtraError: matplotlib is not installed.
        ConfigError: It is no result of a study, or the path's ending is no picture format.
    """
    if not isinstance(result, StudyResult):
        raise ConfigError(
            f"plot_reports draws the result of a study, got {type(result).__name__}. For reports and weights use "
            f"AccuracyMetric().score(...), or introspect.show.plot_weights for arms"
        )
    rows: list[dict[str, Any]] = [r for r in result.arms if r["name"] in _TITLES]
    figure = own_figure(figsize=(2.75 * len(rows) + 0.5, 4.1))
    axes = figure.subplots(1, len(rows), sharex=True, sharey=True, squeeze=False)[0]
    for axis, row in zip(axes, rows, strict=True):
        _panel(axis, result, row)
    axes[0].set_ylabel("what it says (reported weight)")
    figure.supxlabel("what it does (weight measured from its choices)", fontsize=10)
    seeds = f"{len(result.seeds)} seed" + ("s" if len(result.seeds) > 1 else "")
    figure.suptitle(f"Reported against measured weights: {result.model}, {seeds}", fontsize=11)
    if path is not None:
        try:
            figure.savefig(path, dpi=150)
        except (ValueError, OSError) as error:
            raise ConfigError(f"the figure cannot be saved as {path}: {error}") from None
    return figure


def _panel(axis: Any, result: StudyResult, row: dict[str, Any]) -> None:
    name = row["name"]
    arms = [seed.arms[name] for seed in result.seeds]
    x = np.array([w for arm in arms for c in arm.learned for w in arm.learned[c]])
    y = np.array([w for arm in arms for c in arm.learned for w in arm.said[c]])
    axis.axhline(0, color="0.85", lw=0.8, zorder=0)
    axis.axvline(0, color="0.85", lw=0.8, zorder=0)
    axis.plot([-100, 100], [-100, 100], color="0.6", lw=1, ls="--", zorder=1)
    alpha = float(np.clip(200 / max(len(x), 1), 0.1, 0.7))
    axis.scatter(x, y, s=11, color=_COLOURS[name], alpha=alpha, linewidths=0, zorder=2)
    axis.set_title(_TITLES[name], fontsize=9.5, pad=22)
    axis.text(
        0.5,
        1.02,
        _caption(row),
        transform=axis.transAxes,
        ha="center",
        va="bottom",
        fontsize=9,
        weight="bold",
    )
    if row["flag"]:
        axis.text(
            0.03, 0.97, row["flag"], transform=axis.transAxes, ha="left", va="top", fontsize=7, weight="bold",
            color="#b02a2a", bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
    # Below the panel, where they cover no dot.
    axis.set_xlabel("\n".join(_beside(row, *band_of(arms))), fontsize=7.5, color="0.3")
    if not x.size:
        axis.text(0.5, 0.5, _why_empty(arms), transform=axis.transAxes, ha="center", va="center", fontsize=8,
                  color="0.25", bbox={"facecolor": "white", "edgecolor": "none", "pad": 3})  # fmt: skip
    axis.set_xlim(-108, 108)
    axis.set_ylim(-108, 108)
    axis.set_xticks([-100, 0, 100])
    axis.set_yticks([-100, 0, 100])
    axis.set_aspect("equal")
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _beside(row: dict[str, Any], low: float, high: float) -> list[str]:
    """What stands beside every r: coverage, ceiling, null."""
    scored = [f"{row['coverage']:.0%} of contexts scored"] if row["coverage"] is not None else []
    ceiling = [f"ceiling {row['ceiling']:.2f}"] if row["ceiling"] is not None else []
    null = [f"shuffled contexts: r {low:+.2f} to {high:+.2f}"] if math.isfinite(low) else []
    return [line for line in (", ".join(scored + ceiling), *null) if line]


def _why_empty(arms: list[Arm]) -> str:
    """An empty panel must not look like a figure that failed."""
    counts: Counter[str] = Counter()
    for arm in arms:
        counts.update({reason: len(ids) for reason, ids in arm.accuracy.dropped.items()})
    return "\n".join(["no context could be scored", *(f"{n} × {reason}" for reason, n in counts.most_common(4))])


def _caption(row: dict[str, Any]) -> str:
    if row["pooled_r"] is None:
        return "r undefined"
    if row["ci_low"] is None:
        return f"r = {row['pooled_r']:.2f}"
    return f"r = {row['pooled_r']:.2f}  [{row['ci_low']:.2f}, {row['ci_high']:.2f}]"
