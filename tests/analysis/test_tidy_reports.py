"""What a tidy file of reports or targets says, and which reports cannot be used."""

from __future__ import annotations

import pytest
from tidy_rows import choice_rows, report_rows

from introspect.analysis import read_choices, read_reports, read_targets
from introspect.errors import MeasureError


@pytest.fixture
def choices(files):
    return read_choices(files("c.csv", choice_rows()[0]))


TRUTH = choice_rows()[1]


def test_reports_are_averaged_as_given(files, choices) -> None:
    rows = report_rows(TRUTH, error=30, samples=4)
    table = read_reports(files("r.csv", rows), choices)["all"]
    assert len(table) == 8
    assert table.statuses() == {"answered": 8}
    for name, own in table.mean().items():
        for attribute, mean in own.items():
            given = [r["weight"] for r in rows if (r["scenario"], r["attribute"]) == (name, attribute)]
            assert mean == pytest.approx(sum(given) / 4)
    assert table.predictors == (("rent", "size", "noise"),) * 2


def test_numbers_beyond_a_hundred_are_kept(files, choices) -> None:
    rows = [{**r, "weight": 7 * r["weight"]} for r in report_rows(TRUTH, samples=1)]
    table = read_reports(files("r.csv", rows), choices)["all"]
    assert table.mean()["k0"]["rent"] == pytest.approx(7 * TRUTH["k0"]["rent"], rel=1e-4)


def test_reports_that_do_not_match_are_counted_and_never_guessed(files, choices) -> None:
    rows = report_rows(TRUTH, samples=5)
    odd = [r for r in rows if r["scenario"] == "k0"]
    rest = [r for r in rows if r["scenario"] == "k1"]
    changed = [
        *[r for r in odd if r["sample"] == 0 and r["attribute"] != "size"],  # one is missing
        *[{**r, "weight": "" if r["attribute"] == "rent" else r["weight"]} for r in odd if r["sample"] == 1],
        *[{**r, "outcome": "refused"} for r in odd if r["sample"] == 2],
        *[{**r, "attribute": r["attribute"].replace("size", "Size")} for r in odd if r["sample"] == 3],
        *[r for r in odd if r["sample"] == 4],
        *rest,
        *[{**r, "scenario": "elsewhere"} for r in rest if r["sample"] == 0],
    ]
    table = read_reports(files("r.csv", changed), choices, drop_unknown=True)["all"]
    by_row = dict(
        zip(zip(table.scenario_index.tolist(), table.repeat.tolist(), strict=True), table.problems, strict=True)
    )
    assert [by_row[0, i] for i in range(5)] == [
        ("lacks attributes of its scenario",),
        ("lacks attributes of its scenario",),
        ("outcome refused",),
        ("names attributes that its scenario does not have",),
        (),
    ]
    assert table.scenario_ids == ("k0", "k1", "elsewhere")
    assert by_row[2, 0] == ("no choices in its scenario",)
    assert int(table.valid.sum()) == 6
    assert table.mean()["k0"] == pytest.approx(TRUTH["k0"], abs=1e-3)


def test_an_attribute_of_another_scenario_is_counted_not_an_error(files) -> None:
    rows, truth = choice_rows()
    renamed = [
        {**r, "attribute": "view" if r["scenario"] == "k1" and r["attribute"] == "size" else r["attribute"]}
        for r in rows
    ]
    choices = read_choices(files("c.csv", renamed))
    table = read_reports(files("r.csv", report_rows(truth, samples=1)), choices)["all"]
    assert table.status.tolist() == ["answered", "unparsable"]


def test_scenarios_without_any_report_count_against_the_coverage(files, choices) -> None:
    table = read_reports(files("r.csv", report_rows({"k0": TRUTH["k0"]})), choices)["all"]
    assert table.scenario_ids == ("k0", "k1")
    assert table.coverage == 0.5


def test_each_arm_has_a_table(files, choices) -> None:
    rows = report_rows(TRUTH)
    tables = read_reports(files("r.csv", [{"arm": arm, **r} for arm in ("x", "y") for r in rows]), choices)
    assert list(tables) == ["x", "y"]
    assert tables["x"] == tables["y"] == read_reports(files("p.csv", rows), choices)["all"]


def test_reports_know_the_scenarios_of_the_arm_they_are_held_against(files) -> None:
    rows, truth = choice_rows()
    own = {"a": "k0", "b": "k1"}
    choices = read_choices(
        files("c.csv", [{"arm": a, **r} for a, k in own.items() for r in rows if r["scenario"] == k])
    )
    tables = read_reports(files("r.csv", [{"arm": a, **r} for a in own for r in report_rows(truth)]), choices)
    assert {arm: sorted(table.mean()) for arm, table in tables.items()} == {"a": ["k0"], "b": ["k1"]}
    everywhere = read_reports(files("u.csv", report_rows(truth)), choices)["all"]
    assert int(everywhere.valid.sum()) == 4


def test_targets_are_read_by_scenario(files, choices) -> None:
    rows = [{k: v for k, v in r.items() if k != "sample"} for r in report_rows(TRUTH, samples=1)]
    extra = [{**r, "scenario": "elsewhere"} for r in rows[:3]]
    found = read_targets(files("t.csv", [*rows, *extra]), choices)
    assert list(found) == ["all"]
    assert found["all"]["k1"] == pytest.approx(TRUTH["k1"], abs=1e-3)
    assert sorted(found["all"]) == ["elsewhere", "k0", "k1"]
    many = [{"scenario": "elsewhere", "attribute": f"x{i}", "weight": 1} for i in range(11)]
    path = files("m.csv", many)
    with pytest.raises(MeasureError, match="more than 10 targets"):
        read_targets(path, choices)
