"""One arm from near: context by context, weight by weight."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from introspect._random import RNG, stream
from introspect.show.drawn import COLOURS, Drawn, arm_look, blank, tidy_axis
from introspect.study.arms import Arm

__all__ = ["plot_calibration", "plot_forest", "plot_weights"]

_FEWEST = 4  # weights from which on an r inside a context has an interval


def plot_weights(arms: Mapping[str, Arm] | Sequence[Arm]) -> Drawn:
    """Reported (y) against measured weights (x), one panel per arm, each with its r and interval.

    Every dot is one weight of one context, max-normalised per context to +-100; the dashed line is a perfect report.

    Args:
        arms: Arms of one seed, as ``result.seeds[0].arms``, or some of them.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    shown = list(arms.values() if isinstance(arms, Mapping) else arms)
    figure, axes = blank(2.6 * max(len(shown), 1) + 0.5, 3.35, max(len(shown), 1), sharex=True, sharey=True)
    data: list[dict[str, Any]] = []
    for axis, arm in zip(axes, shown, strict=False):
        x, y, rows = _points(arm)
        data += rows
        colour, marker = arm_look(arm.name)
        axis.axhline(0, color="0.85", lw=0.8, zorder=0)
        axis.axvline(0, color="0.85", lw=0.8, zorder=0)
        axis.plot([-100, 100], [-100, 100], color="0.6", lw=1, ls="--", zorder=1)
        alpha = float(np.clip(200 / max(len(x), 1), 0.15, 0.8))
        axis.scatter(x, y, s=13, color=colour, marker=marker, alpha=alpha, linewidths=0)
        a = arm.accuracy
        ends = f" [{a.pooled_interval.low:.2f}, {a.pooled_interval.high:.2f}]" if _known(a.pooled_interval.low) else ""
        told = f"r = {a.pooled_r:.2f}{ends}" if _known(a.pooled_r) else "r undefined"
        axis.set_title(f"{arm.name.replace(', ', chr(10))}\n{told}", fontsize=9)
        axis.set(xlim=(-108, 108), ylim=(-108, 108), xticks=[-100, 0, 100], yticks=[-100, 0, 100], aspect="equal")
        tidy_axis(axis)
    axes[0].set_ylabel("what it says", fontsize=10)
    figure.supxlabel("what it does (weight measured from its choices)", fontsize=10)
    return Drawn(figure, data, "Reported against measured weights, one dot per weight; dashed: a perfect report.")


def plot_forest(arm: Arm, most: int = 60) -> Drawn:
    """r inside each context, lowest first, with Fisher intervals where a context has four weights or more.

    With five weights such an interval is wide: the figure shows how little one context says, and what all say together.

    Args:
        arm: From ``result.seeds[0].arms``.
        most: Contexts drawn at most; the middle ones are left out, and the caption says how many.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    rows: list[dict[str, Any]] = []
    for context, r in sorted(arm.accuracy.within_r.items(), key=lambda pair: (not _known(pair[1]), pair[1])):
        n = len(arm.learned.get(context, ()))
        low, high = _fisher(r, n)
        rows.append({"context": context, "r": r, "low": low, "high": high, "weights": n})
    known = [row for row in rows if _known(row["r"])]
    shown = known if len(known) <= most else [*known[: most // 2], *known[-(most - most // 2) :]]
    missing = len(known) - len(shown)
    # A line is left free where contexts are missing, or a jump would look like a finding.
    places = [y + (missing > 0 and y >= most // 2) for y in range(len(shown))]
    figure, (axis,) = blank(6.4, 1.3 + 0.2 * max(len(shown), 3))
    colour, marker = arm_look(arm.name)
    if missing:
        axis.axhline(most // 2, color="0.6", lw=0.8, ls=":", zorder=0)
        axis.text(-1, most // 2, f"{missing} more", fontsize=7, color="0.3", va="center", ha="left",
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5})  # fmt: skip
    for y, row in zip(places, shown, strict=True):
        if _known(row["low"]):
            axis.plot([row["low"], row["high"]], [y, y], color="0.7", lw=1.6, zorder=1)
        axis.plot(row["r"], y, marker=marker, color=colour, ms=5, ls="none", zorder=2)
    a = arm.accuracy
    if _known(a.mean_within_interval.low):
        axis.axvspan(a.mean_within_interval.low, a.mean_within_interval.high, color=colour, alpha=0.15, lw=0)
    if _known(a.mean_within_r):
        axis.axvline(a.mean_within_r, color=colour, lw=1.6)
    axis.axvline(0, color="0.6", lw=0.8, zorder=0)
    axis.set_yticks(places, [row["context"][:32] for row in shown], fontsize=7)
    axis.set_ylim(-1, max([*places, 0]) + 1)
    axis.set_xlim(-1.05, 1.05)
    axis.set_xlabel("r inside the context", fontsize=10)
    axis.set_title(arm.name, fontsize=10)
    tidy_axis(axis)
    axis.tick_params(axis="y", labelsize=7)
    left = f"; {missing} in the middle not drawn" if missing else ""
    undefined = f"; {len(rows) - len(known)} undefined" if len(known) < len(rows) else ""
    mean = (
        f"the line is their mean, {a.mean_within_r:.2f}, in its 95 % interval" if _known(a.mean_within_r) else "no mean"
    )
    return Drawn(figure, rows, f"r inside each of {len(rows)} contexts of {arm.name}; {mean}{left}{undefined}.")


def plot_calibration(arm: Arm, bins: int = 7, rng: RNG = 0) -> Drawn:
    """What a reported weight is worth: mean measured weight by reported weight, with the slope of all.

    On the diagonal, a weight reported as 50 is 50. A slope below 1 says that reports exaggerate differences. Bars are
    95 % intervals of a bin's mean over contexts (bootstrap), drawn for bins that three contexts or more fall into.

    Args:
        arm: From ``result.seeds[0].arms``.
        bins: Equal bins from -100 to 100.
        rng: Seed of the bootstrap.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    _, _, points = _points(arm)
    edges = np.linspace(-100, 100, bins + 1)
    rows: list[dict[str, Any]] = []
    for k in range(bins):
        inside = [p for p in points if edges[k] <= p["said"] < edges[k + 1] or (k == bins - 1 and p["said"] == 100)]
        if inside:
            low, high = _bin_interval(inside, stream(rng, "calibration", k))
            rows.append(
                {
                    "said": float(np.mean([p["said"] for p in inside])),
                    "measured": float(np.mean([p["measured"] for p in inside])),
                    "low": low,
                    "high": high,
                    "weights": len(inside),
                }
            )
    figure, (axis,) = blank(4.2, 4.0)
    colour, marker = arm_look(arm.name)
    axis.plot([-100, 100], [-100, 100], color="0.6", lw=1, ls="--", zorder=0)
    a = arm.accuracy
    slope = ""
    if _known(a.calibration_slope):
        ends = np.array([-100.0, 100.0])
        axis.plot(ends, a.calibration_intercept + a.calibration_slope * ends, color=COLOURS[2], lw=1.6, zorder=1)
        i = a.calibration_slope_interval
        slope = f"slope {a.calibration_slope:.2f}" + (f" [{i.low:.2f}, {i.high:.2f}]" if _known(i.low) else "")
    for row in rows:
        if _known(row["low"]):
            axis.plot([row["said"]] * 2, [row["low"], row["high"]], color=colour, lw=1.6, zorder=2)
        axis.plot(
            row["said"],
            row["measured"],
            marker=marker,
            color=colour,
            ms=4 + min(6, row["weights"] ** 0.5 / 2),
            zorder=3,
        )
    axis.axhline(0, color="0.9", lw=0.8, zorder=0)
    axis.axvline(0, color="0.9", lw=0.8, zorder=0)
    axis.set(xlim=(-108, 108), ylim=(-108, 108), xticks=[-100, -50, 0, 50, 100], yticks=[-100, -50, 0, 50, 100])
    axis.set_xlabel("reported weight", fontsize=10)
    axis.set_ylabel("measured weight, mean", fontsize=10)
    axis.set_title(f"{arm.name}{': ' + slope if slope else ''}", fontsize=10)
    tidy_axis(axis)
    return Drawn(
        figure, rows, f"Mean measured by reported weight, {arm.name}; dashed: what is said is so. {slope}".strip()
    )


def _points(arm: Arm) -> tuple[list[float], list[float], list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = [
        {"arm": arm.name, "context": context, "weight": k, "measured": measured, "said": said}
        for context, weights in arm.learned.items()
        for k, (measured, said) in enumerate(zip(weights, arm.said[context], strict=True))
    ]
    return [row["measured"] for row in rows], [row["said"] for row in rows], rows


def _bin_interval(inside: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> tuple[float, float]:
    by_context: dict[str, list[float]] = {}
    for point in inside:
        by_context.setdefault(point["context"], []).append(point["measured"])
    if len(by_context) < 3:
        return math.nan, math.nan
    sums = np.array([sum(v) for v in by_context.values()])
    counts = np.array([len(v) for v in by_context.values()])
    drawn: NDArray[np.int64] = rng.integers(len(sums), size=(1000, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _fisher(r: float, n: int) -> tuple[float, float]:
    if not _known(r) or n < _FEWEST or abs(r) >= 1:
        return math.nan, math.nan
    z, half = math.atanh(r), 1.959964 / math.sqrt(n - 3)
    return math.tanh(z - half), math.tanh(z + half)


def _known(value: float) -> bool:
    return math.isfinite(value)
