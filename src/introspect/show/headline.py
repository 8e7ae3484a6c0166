"""The headline: r of each arm between what it must beat and what it can reach, and before against after."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from introspect.show.bands import band_of
from introspect.show.drawn import COLOURS, Drawn, arm_look, blank, number, tidy_axis
from introspect.study.result import StudyResult

__all__ = ["plot_headline", "plot_slopes"]

_ALARM = "#b02a2a"
_ENOUGH = 0.9  # a coverage below this is marked
_PAIRS = (("instilled", "report-trained", "held-out contexts"), ("native-before", "native-after", "native preferences"))


def plot_headline(result: StudyResult | Mapping[str, Any]) -> Drawn:
    """r of each arm with its interval; behind it what chance gives, what ignorance gives, and the ceiling.

    The grey band is where 95 % of the r's lie when reports are dealt out to other contexts. The cross is the best
    report that knows nothing of its context. The bar to the right is the r that the noise of measuring leaves possible.
    An arm that has none of these is drawn without. At the right edge: the share of contexts that r rests on.

    Args:
        result: A study's result, or its ``result.json`` as a mapping. That one has no null bands, unless its arms were
            given "null_low" and "null_high", as the report page does.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    rows = [_row(row) for row in _arms(result)]
    flag = next((row["flag"] for row in rows if row["flag"]), "")
    figure, (axis,) = blank(7.4, 1.2 + 0.42 * max(len(rows), 1) + (0.25 if flag else 0))
    for y, row in enumerate(rows):
        _draw(axis, y, row)
    axis.axvline(0, color="0.6", lw=0.8, zorder=0)
    axis.set_yticks(range(len(rows)), [row["arm"] for row in rows])
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlim(min([-0.35, *(low(row) - 0.05 for row in rows)]), 1.05)
    axis.set_xlabel("r of reported with measured weights", fontsize=10)
    _legend(axis, rows)
    _coverages(axis, rows)
    if flag:
        figure.suptitle(flag, fontsize=10, weight="bold", color=_ALARM)
    tidy_axis(axis)
    caption = "r of each arm with its 95 % interval"
    if any(math.isfinite(row["null_low"]) for row in rows):
        caption += "; grey: 95 % of r with reports dealt out to other contexts"
    if any(math.isfinite(row["baseline"]) for row in rows):
        caption += "; ×: the best report that knows nothing of its context"
    if any(math.isfinite(row["ceiling"]) for row in rows):
        caption += "; |: what the noise of measuring leaves possible"
    if any(math.isfinite(row["coverage"]) for row in rows):
        caption += "; %: contexts that could be scored"
    return Drawn(figure, rows, caption + (f". {flag[:1].upper()}{flag[1:]}" if flag else "") + ".")


def low(row: Mapping[str, float]) -> float:
    """The leftmost thing drawn of a row."""
    known = [row[k] for k in ("r", "low", "null_low", "baseline") if math.isfinite(row[k])]
    return min(known, default=0.0)


def plot_slopes(result: StudyResult | Mapping[str, Any]) -> Drawn:
    """r before and after report training, one thin line per seed and a thick one for their mean.

    Args:
        result: A study's result, or its ``result.json`` as a mapping.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    told: Mapping[str, Any] = result.to_dict() if isinstance(result, StudyResult) else result
    seeds = [{row["name"]: row for row in seed["arms"]} for seed in told.get("seeds") or ()]
    arms = {row["name"]: row for row in told.get("arms") or ()}
    shown = [pair for pair in _PAIRS if pair[0] in arms and pair[1] in arms]
    figure, axes = blank(3.1 * max(len(shown), 1) + 0.6, 3.6, max(len(shown), 1), sharey=True)
    data = []
    for k, (axis, (before, after, where)) in enumerate(zip(axes, shown, strict=False)):
        for number_, seed in zip((s.get("seed") for s in told["seeds"]), seeds, strict=True):
            ends = [number(seed[name]["pooled_r"]) for name in (before, after)]
            data.append({"where": where, "seed": number_, "before": ends[0], "after": ends[1]})
            if len(seeds) > 1:
                axis.plot([0, 1], ends, color=COLOURS[k], lw=1, alpha=0.45)
        mean = [number(arms[name]["pooled_r"]) for name in (before, after)]
        axis.plot([0, 1], mean, color=COLOURS[k], lw=2.6, marker="o", ms=7)
        for x, name in enumerate((before, after)):
            ends = [number(arms[name][end]) for end in ("ci_low", "ci_high")]
            axis.plot([x, x], ends, color=COLOURS[k], lw=1.4)
            if math.isfinite(mean[x]):
                side = "right" if x == 0 else "left"
                axis.annotate(
                    f"{mean[x]:.2f}", (x, mean[x]), xytext=(-8 if x == 0 else 8, 0), textcoords="offset points",
                    ha=side, va="center", fontsize=9,
                )  # fmt: skip
        axis.axhline(0, color="0.6", lw=0.8, zorder=0)
        axis.set_xticks([0, 1], ["before", "after"])
        axis.set_xlim(-0.45, 1.45)
        axis.set_title(where, fontsize=10)
        tidy_axis(axis)
    axes[0].set_ylabel("r of reported with measured weights", fontsize=10)
    figure.supxlabel("report training on other contexts", fontsize=10)
    runs = f"{len(seeds)} seed{'' if len(seeds) == 1 else 's'}"
    return Drawn(figure, data, f"r before and after report training on other contexts, {runs}; bars: 95 % intervals.")


def _arms(result: StudyResult | Mapping[str, Any]) -> list[dict[str, Any]]:
    if not isinstance(result, StudyResult):
        return list(result.get("arms") or ())
    bands = {
        name: band_of([seed.arms[name] for seed in result.seeds if name in seed.arms]) for name in result.arm_names
    }
    return [row | dict(zip(("null_low", "null_high"), bands[str(row["name"])], strict=True)) for row in result.arms]


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "arm": str(row["name"]),
        "r": number(row.get("pooled_r")),
        "low": number(row.get("ci_low")),
        "high": number(row.get("ci_high")),
        "null_low": number(row.get("null_low")),
        "null_high": number(row.get("null_high")),
        "baseline": number(row.get("best_baseline_r")),
        "ceiling": number(row.get("ceiling")),
        "coverage": number(row.get("coverage")),
        "flag": str(row.get("flag") or ""),
    }


def _draw(axis: Any, y: int, row: Mapping[str, Any]) -> None:
    colour, marker = arm_look(row["arm"])
    if math.isfinite(row["null_low"]):
        axis.barh(y, row["null_high"] - row["null_low"], left=row["null_low"], height=0.62, color="0.86", zorder=0)
    if math.isfinite(row["ceiling"]):
        axis.plot([row["ceiling"]] * 2, [y - 0.3, y + 0.3], color="0.25", lw=1.8, zorder=2)
    if math.isfinite(row["baseline"]):
        axis.plot(row["baseline"], y, marker="x", color="0.3", ms=6, mew=1.4, ls="none", zorder=3)
    if math.isfinite(row["low"]):
        axis.plot([row["low"], row["high"]], [y, y], color=colour, lw=2.2, zorder=4, solid_capstyle="butt")
    if math.isfinite(row["r"]):
        axis.plot(row["r"], y, marker=marker, color=colour, ms=7, mec="white", mew=0.8, ls="none", zorder=5)
    else:
        axis.text(0.02, y, "r undefined", fontsize=8, color="0.4", va="center")


def _coverages(axis: Any, rows: list[dict[str, Any]]) -> None:
    """At the right edge: how many of the contexts an r rests on."""
    if not any(math.isfinite(row["coverage"]) for row in rows):
        return
    place = axis.get_yaxis_transform()
    axis.text(1.12, -0.55, "coverage", transform=place, fontsize=8, ha="right", va="center", color="0.25")
    for y, row in enumerate(rows):
        if math.isfinite(row["coverage"]):
            few = row["coverage"] < _ENOUGH
            axis.text(
                1.12, y, f"{row['coverage']:.0%}", transform=place, fontsize=9, ha="right", va="center",
                color=_ALARM if few else "0.25", weight="bold" if few else "normal",
            )  # fmt: skip


def _legend(axis: Any, rows: list[dict[str, Any]]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    shown: list[Any] = [Line2D([], [], color="0.2", marker="o", lw=2.2, label="r, 95 % interval")]
    if any(math.isfinite(row["null_low"]) for row in rows):
        shown.append(Patch(color="0.86", label="shuffled contexts"))
    if any(math.isfinite(row["baseline"]) for row in rows):
        shown.append(Line2D([], [], color="0.3", marker="x", ls="none", label="best ignorant report"))
    if any(math.isfinite(row["ceiling"]) for row in rows):
        shown.append(Line2D([], [], color="0.25", marker="|", ms=10, mew=1.8, ls="none", label="ceiling"))
    axis.legend(
        handles=shown, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(shown), fontsize=8, frameon=False
    )
