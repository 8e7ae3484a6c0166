"""Which contexts can be compared, and why the others cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest

from introspect.decision.preference import Preference
from introspect.errors import MeasureError
from introspect.measure import ReportTable, pair

LEARNED = {"k1": {"p": 2.0, "q": -1.0}, "k2": {"p": 0.5, "q": 0.1}}


def test_both_sides_are_scaled_to_100_per_context():
    both = pair({"k1": {"p": 10, "q": -40}, "k2": {"p": 1, "q": 2}}, LEARNED)
    np.testing.assert_allclose(both.said, [[25, -100], [50, 100]])
    np.testing.assert_allclose(both.learned, [[100, -50], [100, 20]])


def test_predictors_are_matched_by_name_and_not_by_place():
    both = pair({"k1": {"q": -1, "p": 2}}, LEARNED)
    np.testing.assert_allclose(both.said[0], both.learned[0])


@pytest.mark.parametrize(
    ("report", "weights", "reason"),
    [
        ({"p": 1.0}, {"p": 1.0, "q": 2.0}, "report incomplete"),
        ({"p": 1.0, "q": math.nan}, {"p": 1.0, "q": 2.0}, "report incomplete"),
        ({"p": 1.0, "q": math.inf}, {"p": 1.0, "q": 2.0}, "report incomplete"),
        ({"p": 0.0, "q": 0.0}, {"p": 1.0, "q": 2.0}, "report all zero"),
        ({"p": 1.0, "q": 2.0}, {"p": 0.0, "q": 0.0}, "learned weights all zero"),
        ({"p": 1.0, "q": 2.0}, {"p": math.nan, "q": 2.0}, "learned weights not finite"),
        ({"p": 1.0}, {"p": 1.0}, "fewer than 2 predictors"),
    ],
)
def test_what_cannot_be_compared_is_left_out_with_its_reason(report, weights, reason):
    both = pair({"k1": report, "k2": {"p": 1, "q": 2}}, {**LEARNED, "k1": weights})
    assert both.ids == ("k2",)
    assert both.dropped == {reason: ("k1",)}
    assert both.n_asked == 2


def test_contexts_without_weights_are_counted_and_those_not_asked_about_are_not():
    both = pair({"k9": {"p": 1, "q": 2}}, LEARNED)
    assert (len(both), both.n_asked, both.dropped) == (0, 1, {"no learned weights": ("k9",)})


def test_contexts_without_a_valid_report_are_counted():
    row = {
        "scenario_id": "k1",
        "repeat": 0,
        "weights": {"p": 3.0},
        "text": ["no"],
        "problems": [],
        "shown": None,
    }
    source = {"model": "m", "probe": "x", "seed": 0, "signed": True}
    table = ReportTable.of_rows([{**row, "status": "refused"}], {"k1": ("p", "q")}, source)
    assert pair(table, LEARNED).dropped == {"no valid report": ("k1",)}


def test_contexts_chosen_on_one_side_are_left_out(make_world):
    from introspect.measure import ChoiceModel

    _, preferences, trials = make_world(n_scenarios=3)
    labels = np.where(trials.scenario_ids == "s001", 1, trials.labels)
    both = pair(preferences, ChoiceModel().fit(trials.with_labels(labels)))
    assert both.dropped == {"all choices on one side": ("s001",)}


def test_reports_of_unknown_predictors_are_refused_with_both_names():
    with pytest.raises(MeasureError, match=r"k1.*'r'.*'p', 'q'"):
        pair({"k1": {"r": 1, "p": 2}}, LEARNED)


def test_preferences_and_plain_mappings_are_scored_alike():
    preference = Preference(scenario_id="k1", weights={"p": 30.0, "q": 60.0})
    a, b = pair({"k1": preference}, LEARNED), pair({"k1": preference.weights}, LEARNED)
    np.testing.assert_array_equal(a.said[0], b.said[0])
    with pytest.raises(MeasureError, match="got list"):
        pair([1, 2], LEARNED)
    with pytest.raises(MeasureError, match=r"k1.*got float"):
        pair({"k1": 3.0}, LEARNED)


def test_reports_without_signs_are_compared_with_magnitudes():
    row = {"scenario_id": "k1", "repeat": 0, "status": "answered", "text": [], "problems": [], "shown": None}
    source = {"model": "m", "probe": "x", "seed": 0, "signed": False}
    table = ReportTable.of_rows([{**row, "weights": {"p": 100.0, "q": 50.0}}], {"k1": ("p", "q")}, source)
    both = pair(table, LEARNED)
    np.testing.assert_allclose(both.said[0], both.learned[0])
    assert not both.signed
