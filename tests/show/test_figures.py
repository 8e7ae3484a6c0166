"""Each figure draws what its data say, says what it leaves out, and needs no pyplot."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from introspect.errors import ConfigError, MeasureError
from introspect.show import (
    plot_calibration,
    plot_design_efficiency,
    plot_dose,
    plot_forest,
    plot_headline,
    plot_privileged_access,
    plot_slopes,
    plot_trajectory,
    plot_weights,
)
from introspect.show.bands import band_of
from introspect.show.drawn import COLOURS


@pytest.fixture
def arms(finished):
    return finished.result.seeds[0].arms


def test_the_headline_has_a_row_per_arm_with_interval_null_baseline_and_ceiling(finished) -> None:
    drawn = plot_headline(finished.result)
    assert [row["arm"] for row in drawn.data] == list(finished.result.arm_names)
    for row, arm in zip(drawn.data, finished.result.arms, strict=True):
        assert row["r"] == pytest.approx(arm["pooled_r"])
        quantiles = [s.arms[row["arm"]].accuracy.shuffle_quantiles for s in finished.result.seeds]
        assert row["null_high"] == pytest.approx(np.mean([q[2] for q in quantiles]))
    (axis,) = drawn.figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == list(finished.result.arm_names)
    left, right = axis.get_xlim()
    assert all(left <= row["null_low"] and row["null_high"] <= right for row in drawn.data)


def test_coverage_and_a_failed_instilling_stand_beside_the_headline(finished) -> None:
    rows = [{**row, "flag": "instilling weak"} for row in finished.result.arms]
    rows[0] |= {"coverage": 0.5}
    drawn = plot_headline({"arms": rows})
    (axis,) = drawn.figure.axes
    said = {text.get_text(): text for text in axis.texts}
    assert {"coverage", "50%", *(f"{row['coverage']:.0%}" for row in rows)} == set(said)
    assert said["50%"].get_weight() == "bold"
    assert drawn.figure.get_suptitle() == "instilling weak"
    assert drawn.caption.endswith("contexts that could be scored. Instilling weak.")
    drawn.figure.draw_without_rendering()
    whole = drawn.figure.bbox.padded(1)
    for text in said.values():
        box = text.get_window_extent()
        assert whole.x0 <= box.x0 <= box.x1 <= whole.x1, text.get_text()
        assert whole.y0 <= box.y0 <= box.y1 <= whole.y1, text.get_text()


def test_a_result_read_from_its_file_draws_the_same_but_for_the_nulls(finished) -> None:
    told = json.loads((finished.folder / "result.json").read_text())
    one, other = plot_headline(finished.result), plot_headline(told)
    assert [row["r"] for row in one.data] == [row["r"] for row in other.data]
    assert all(math.isnan(row["null_low"]) for row in other.data)
    assert "dealt out" in one.caption
    assert "dealt out" not in other.caption
    given = {name: band_of([seed.arms[name] for seed in finished.result.seeds]) for name in finished.result.arm_names}
    for row in told["arms"]:
        row |= dict(zip(("null_low", "null_high"), given[row["name"]], strict=True))
    assert plot_headline(told).data == one.data
    assert plot_slopes(finished.result).data == plot_slopes(told).data


def test_an_arm_without_a_number_is_named_and_not_drawn() -> None:
    drawn = plot_headline({"arms": [{"name": "untuned", "pooled_r": None}]})
    assert math.isnan(drawn.data[0]["r"])
    assert [text.get_text() for text in drawn.figure.axes[0].texts] == ["r undefined"]


def test_slopes_join_before_and_after_of_each_seed(finished) -> None:
    drawn = plot_slopes(finished.result)
    assert len(drawn.data) == 4
    for row in drawn.data:
        seed = next(s for s in finished.result.seeds if s.seed == row["seed"])
        before, after = {
            "held-out contexts": ("instilled", "report-trained"),
            "native preferences": ("native-before", "native-after"),
        }[row["where"]]
        assert row["before"] == pytest.approx(seed.arms[before].accuracy.pooled_r)
        assert row["after"] == pytest.approx(seed.arms[after].accuracy.pooled_r)


def test_weights_are_drawn_once_each_and_panels_quote_their_r(arms) -> None:
    shown = [arms["untuned"], arms["report-trained"]]
    drawn = plot_weights(shown)
    assert len(drawn.data) == sum(len(w) for arm in shown for w in arm.learned.values())
    for axis, arm in zip(drawn.figure.axes, shown, strict=True):
        assert f"r = {arm.accuracy.pooled_r:.2f} [" in axis.get_title()
        assert len(np.asarray(axis.collections[0].get_offsets())) == sum(len(w) for w in arm.learned.values())


def test_the_forest_sorts_contexts_and_says_how_many_it_leaves_out(arms) -> None:
    arm = arms["report-trained"]
    drawn = plot_forest(arm, most=6)
    r = [row["r"] for row in drawn.data if math.isfinite(row["r"])]
    assert r == sorted(r)
    assert {row["context"] for row in drawn.data} == set(arm.accuracy.within_r)
    assert len(drawn.figure.axes[0].get_yticks()) == 6
    assert f"{len(r) - 6} in the middle not drawn" in drawn.caption
    assert [text.get_text() for text in drawn.figure.axes[0].texts] == [f"{len(r) - 6} more"]
    assert list(drawn.figure.axes[0].get_yticks()) == [0, 1, 2, 4, 5, 6]
    # Fisher's interval of r = tanh(z) with five weights has half a width of 1.96 / sqrt(2).
    row = next(row for row in drawn.data if abs(row["r"]) < 1)
    assert math.atanh(row["high"]) - math.atanh(row["r"]) == pytest.approx(1.959964 / math.sqrt(2))


def test_calibration_averages_what_was_measured_where_it_was_reported(arms) -> None:
    arm = arms["report-trained"]
    drawn = plot_calibration(arm, bins=4)
    assert sum(row["weights"] for row in drawn.data) == sum(len(w) for w in arm.learned.values())
    points = [(s, m) for c in arm.learned for s, m in zip(arm.said[c], arm.learned[c], strict=True)]
    lowest = [m for s, m in points if s < -50]
    assert drawn.data[0]["measured"] == pytest.approx(np.mean(lowest))
    assert all(row["low"] <= row["measured"] <= row["high"] for row in drawn.data if math.isfinite(row["low"]))
    assert f"slope {arm.accuracy.calibration_slope:.2f}" in drawn.caption
    assert plot_calibration(arm, bins=4).data == drawn.data


def test_an_arm_in_which_nothing_was_scored_still_makes_figures(arms) -> None:
    empty = replace(arms["untuned"], said={}, learned={})
    assert plot_weights([empty]).data == []
    assert plot_calibration(empty).data == []


ROWS = [{"arm": a, "step": s, "r": 0.1 * s + k, "low": 0.0, "high": 1.0} for k, a in enumerate("ab") for s in (0, 1, 2)]


def test_trajectories_have_a_line_an_arm_told_apart_without_colour() -> None:
    (axis,) = plot_trajectory(ROWS).figure.axes
    assert [line.get_label() for line in axis.lines] == ["a", "b"]
    assert len({line.get_marker() for line in axis.lines}) == 2
    assert {line.get_color() for line in axis.lines} <= set(COLOURS)
    assert plot_trajectory(pd.DataFrame(ROWS)).data == ROWS


def test_doses_over_a_decade_are_drawn_on_a_log_axis_with_their_own_values() -> None:
    wide, narrow = ([{"examples": n, "r": 0.1} for n in ns] for ns in ((10, 100, 1000), (10, 20)))
    (axis,) = plot_dose(wide).figure.axes
    assert axis.get_xscale() == "log"
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["10", "100", "1000"]
    assert plot_dose(narrow).figure.axes[0].get_xscale() == "linear"


def test_privileged_access_counts_who_tells_own_weights_best() -> None:
    r = {("A", "A"): 0.7, ("A", "B"): 0.5, ("B", "A"): 0.3, ("B", "B"): 0.4}
    rows = [{"reports of": a, "weights of": b, "r": value} for (a, b), value in r.items()]
    drawn = plot_privileged_access(rows)
    assert "1 of 2 models tell their own weights best" in drawn.caption
    assert sorted(t.get_text() for t in drawn.figure.axes[0].texts) == ["0.30", "0.40", "0.50", "0.70"]
    assert len(drawn.figure.axes[0].patches) == 2


def test_design_efficiency_needs_its_columns() -> None:
    with pytest.raises(MeasureError, match="no column 'design'; it has trials, error"):
        plot_design_efficiency([{"trials": 3, "error": 1.0}])
    with pytest.raises(MeasureError, match="no rows"):
        plot_design_efficiency([])


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_figures_are_saved_shown_and_framed(ending: str, tmp_path: Path) -> None:
    drawn = plot_trajectory(ROWS)
    drawn.save(tmp_path / f"t.{ending}")
    assert (tmp_path / f"t.{ending}").stat().st_size > 1000
    assert drawn._repr_png_().startswith(b"\x89PNG")
    assert list(drawn.to_frame()["step"]) == [row["step"] for row in ROWS]


def test_a_path_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be saved"):
        plot_trajectory(ROWS).save(tmp_path / "t.doc")
