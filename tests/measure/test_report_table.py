"""Reports as a table to keep."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from introspect.decision.trial import Trial
from introspect.errors import MeasureError
from introspect.measure import ReportTable

PREDICTORS = {"k1": ("p", "q, r"), "k\n2": ("p", 's="x"', "t")}
texts = st.text(st.characters(), max_size=20)


@st.composite
def tables(draw: st.DrawFn) -> ReportTable:
    rows = []
    for name, predictors in PREDICTORS.items():
        for repeat in range(draw(st.integers(1, 3))):
            complete = draw(st.booleans())
            weights = {p: draw(st.floats(-100, 100)) for p in predictors if complete or draw(st.booleans())}
            shown = Trial(scenario_id="k", values=((1, 0.1), (2, 3)), flipped=draw(st.booleans()))
            rows.append(
                {
                    "scenario_id": name,
                    "repeat": repeat,
                    "status": "answered" if complete else draw(st.sampled_from(["refused", "out_of_range"])),
                    "weights": weights,
                    "text": draw(st.lists(texts, max_size=2)),
                    "problems": draw(st.lists(texts, max_size=2)),
                    "shown": draw(st.sampled_from([None, shown])),
                }
            )
    source = {
        "model": "m",
        "probe": "r(1,2)",
        "seed": draw(st.integers(0, 2**63)),
        "signed": draw(st.booleans()),
    }
    return ReportTable.of_rows(rows, PREDICTORS, source)


quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(table=tables())
def test_json_lines_lose_nothing(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("t") / "reports.jsonl"
    table.to_jsonl(path)
    assert ReportTable.from_jsonl(path) == table


@quick
@given(table=tables())
def test_csv_loses_nothing(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("t") / "reports.csv"
    table.to_csv(path)
    assert ReportTable.from_csv(path) == table


@quick
@given(table=tables())
def test_frames_lose_nothing(table):
    assert ReportTable.from_pandas(table.to_pandas()) == table


@quick
@given(table=tables())
def test_the_mean_is_over_complete_reports_only(table):
    means = table.mean()
    for name in PREDICTORS:
        complete = table.reports(name)
        assert (name in means) == bool(complete)
        for predictor, value in means.get(name, {}).items():
            assert value == pytest.approx(np.mean([report[predictor] for report in complete]))
    assert table.coverage == len(means) / len(PREDICTORS)
    assert table.response_rate == pytest.approx(table.statuses().get("answered", 0) / len(table))


@quick
@given(table=tables())
def test_the_reports_of_a_scenario_do_not_change_when_others_are_left_out(table):
    alone = table.select(["k\n2"])
    assert alone.scenario_ids == ("k\n2",)
    assert alone.reports("k\n2") == table.reports("k\n2")
    assert alone.mean().get("k\n2") == table.mean().get("k\n2")


def test_reports_of_unlisted_scenarios_or_predictors_are_refused():
    row = {"scenario_id": "k1", "repeat": 0, "status": "answered", "text": [], "problems": [], "shown": None}
    source = {"model": "", "probe": "", "seed": 0, "signed": True}
    with pytest.raises(MeasureError, match="not listed"):
        ReportTable.of_rows([{**row, "weights": {}}], {"k2": ("p",)}, source)
    with pytest.raises(MeasureError, match=r"no predictors \['z'\]"):
        ReportTable.of_rows([{**row, "weights": {"z": 1.0}}], {"k1": ("p",)}, source)
    table = ReportTable.from_weights({"k1": {"p": 1.0}})
    with pytest.raises(MeasureError, match="k7"):
        table.select(["k7"])
    with pytest.raises(MeasureError, match="k7"):
        table.reports("k7")


def test_an_empty_table_has_no_rates():
    table = ReportTable.from_weights({})
    assert math.isnan(table.response_rate)
    assert math.isnan(table.coverage)
    assert table.mean() == {}
    assert table.sentences() == ["No report was asked for."]


def test_rows_of_two_models_are_not_one_table():
    import pandas as pd

    frames = [ReportTable.from_weights({"k1": {"p": 1.0}}, model=name).to_pandas() for name in "ab"]
    with pytest.raises(MeasureError, match="one model"):
        ReportTable.from_pandas(pd.concat(frames))
    with pytest.raises(MeasureError, match="lacks the columns"):
        ReportTable.from_pandas(frames[0].drop(columns="weight"))
