"""What our own tables are written as is read back as the same trials, choices and reports."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from introspect.analysis import read_choices, read_reports, read_targets, to_tidy, write_tidy
from introspect.decision import Attribute, DecisionScenario, PreferenceSampler, TrialGenerator, TrialSet
from introspect.errors import MeasureError
from introspect.measure import ChoiceModel, ChoiceTable, ReportTable
from introspect.testing import attributes, scenario_sets, scenarios, trial_sets

quick = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])

plain = scenario_sets(scenarios(attributes(kinds=("numeric",), log_scale=False)))
any_kind = scenario_sets(scenarios(max_attributes=2), max_size=2)


@st.composite
def tables(draw: st.DrawFn, of=plain) -> ChoiceTable:
    trials = draw(trial_sets(of, n_options=st.just(2)))
    n = len(trials)
    chosen = np.array(draw(st.lists(st.integers(-1, 1), min_size=n, max_size=n)), dtype=np.int8)
    table = ChoiceTable.from_choices(trials, chosen)
    status = np.where(chosen < 0, draw(st.sampled_from(["missing", "refused", "failed"])), table.status)
    logprob = np.full((n, 2), np.nan)
    for i in range(n):
        kind = draw(st.sampled_from(["none", "both", "first", "second"]))
        if chosen[i] >= 0 and kind != "none":
            chance = draw(st.floats(0.001, 0.999))
            pair = [math.log(chance), math.log((1 - chance) * draw(st.floats(0.01, 1)))]
            logprob[i] = [pair[0] if kind != "second" else math.nan, pair[1] if kind != "first" else math.nan]
    return replace(table, status=status, logprob=logprob)


def content(table: ChoiceTable) -> list:
    """What the format promises to keep of every trial, scenario by scenario."""
    rows = []
    for i, (scenario, trial) in enumerate(table.trials):
        order = trial.attribute_order or range(scenario.n_attributes)
        axes = [(a.name, a.low, a.high) for a in scenario.attributes]
        rows.append(
            (scenario.id, axes, trial.values, [axes[k][0] for k in order], int(table.chosen[i]), str(table.status[i]),
             [None if math.isnan(x) else x for x in table.logprob[i]])
        )  # fmt: skip
    return sorted(rows, key=lambda row: row[0])


@quick
@given(table=tables())
def test_numeric_choices_lose_nothing_that_the_format_has(table, tmp_path_factory) -> None:
    path = write_tidy(tmp_path_factory.mktemp("t"), table)["choices"]
    assert content(read_choices(path)["all"]) == content(table)


@quick
@given(table=tables(any_kind))
def test_predictors_of_every_kind_of_attribute_survive(table, tmp_path_factory) -> None:
    back = read_choices(write_tidy(tmp_path_factory.mktemp("t"), table)["choices"])["all"]

    def encoded(one: ChoiceTable) -> dict:
        found: dict[str, list] = {}
        for block in one.trials.blocks:
            for i, row in zip(block.scenario_index, block.differences(), strict=True):
                found.setdefault(block.scenarios[i].id, []).append(row)
        return {name: np.array(rows) for name, rows in sorted(found.items())}

    before, after = encoded(table), encoded(back)
    assert list(before) == list(after)
    for name in before:
        np.testing.assert_allclose(after[name], before[name], atol=1e-8)


def world(n: int = 3):
    view = Attribute(name="view", levels=("yard", "street", "park"), ordered=False)
    rent = Attribute(name="rent", low=1, high=1000, scale="log")
    size = Attribute(name="size", levels=("small", "medium", "large"))
    own = [
        DecisionScenario(id=f"k{i}", chooser="Ada", item="lot", question="?", attributes=(view, rent, size))
        for i in range(n)
    ]
    preferences = PreferenceSampler().sample(own, rng=0)
    trials = TrialGenerator(shuffle_attributes=True).trials(own, 40, rng=1)
    labels = TrialGenerator().label(trials, preferences, "logistic", rng=2, scale=4).labels
    return own, preferences, ChoiceTable.from_choices(trials, labels)


def test_a_fit_to_the_file_is_the_fit_to_the_table(tmp_path) -> None:
    _, _, table = world()
    back = read_choices(write_tidy(tmp_path, table)["choices"])["all"]
    one, other = ChoiceModel().fit(table), ChoiceModel().fit(back)
    for name in one.scenario_ids:
        assert list(other.weights(name)) == ["view: street", "view: park", "rent", "size"]
        np.testing.assert_allclose(list(other.weights(name).values()), list(one.weights(name).values()), atol=1e-6)


def test_reports_and_targets_stay_with_their_weights(tmp_path) -> None:
    _, preferences, table = world()
    weights = {name: dict(p.weights) for name, p in preferences.items()}
    said = ReportTable.from_weights(weights)
    broken = replace(said, status=np.array(["answered", "refused", "answered"]))
    paths = write_tidy(tmp_path, table, {"before": said, "after": broken}, preferences)
    choices = read_choices(paths["choices"])
    reports = read_reports(paths["reports"], choices)
    named = {name: {key.replace("=", ": "): value for key, value in own.items()} for name, own in weights.items()}
    assert reports["before"].mean() == named
    assert sorted(reports["after"].mean()) == ["k0", "k2"]
    assert reports["after"].status.tolist() == ["answered", "refused", "answered"]
    assert read_targets(paths["targets"], choices)["all"] == named


def test_columns_that_say_nothing_are_left_out(tmp_path) -> None:
    _, _, table = world(1)
    listed = write_tidy(tmp_path / "a", table)["choices"].read_text().splitlines()[0]
    assert listed == "scenario,trial,attribute,low,high,value_a,value_b,choice,order"
    two = write_tidy(tmp_path / "b", {"x": table, "y": table.take(range(5))})["choices"]
    assert {name: len(own) for name, own in read_choices(two).items()} == {"x": 40, "y": 5}


def test_what_the_format_cannot_hold_is_refused(tmp_path) -> None:
    own, _, table = world(1)
    three = ChoiceTable.from_choices(TrialGenerator(n_options=3).trials(own, 2, rng=0), [0, 2])
    with pytest.raises(MeasureError, match="two options, these have 3"):
        to_tidy(three)
    ranked = replace(ReportTable.from_weights({"k0": {"view": 1.0}}), signed=False)
    with pytest.raises(MeasureError, match="signs"):
        to_tidy(ranked)
    clash = DecisionScenario(
        id="k", chooser="Ada", item="lot", question="?",
        attributes=(Attribute(name="a", levels=("x", "y"), ordered=False), Attribute(name="a: y", low=0, high=1)),
    )  # fmt: skip
    with pytest.raises(MeasureError, match="tell apart"):
        to_tidy(ChoiceTable.from_choices(TrialGenerator().trials([clash], 1, rng=0), [0]))
    colours = tuple(f"colour {i}" for i in range(12))
    wide = DecisionScenario(
        id="k", chooser="Ada", item="lot", question="?",
        attributes=(Attribute(name="a", levels=colours, ordered=False), Attribute(name="b", low=0, high=1)),
    )  # fmt: skip
    with pytest.raises(MeasureError, match="12 weights"):
        to_tidy(ChoiceTable.from_choices(TrialGenerator().trials([wide], 1, rng=0), [0]))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MeasureError, match="cannot be written"):
        write_tidy(tmp_path / "file", table)


def test_no_trials_make_no_rows() -> None:
    assert to_tidy(ChoiceTable.from_choices(TrialSet(), [])) == []
