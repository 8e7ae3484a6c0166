"""Choices as a table to keep."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from introspect.decision.attribute import Attribute
from introspect.decision.scenario import DecisionScenario
from introspect.decision.trial import Trial
from introspect.decision.trial_set import TrialSet
from introspect.errors import IntrospectError, MeasureError
from introspect.measure import ChoiceTable

TWO = DecisionScenario(
    id="two", chooser="Ines", item="flat", question="Which flat?",
    attributes=(Attribute(name="rent", low=400, high=1400), Attribute(name="view", levels=("yard", "park"))),
)  # fmt: skip
THREE = DecisionScenario(
    id="three, \"odd\"", chooser="Bo", item="boat", question="Which boat?",
    attributes=tuple(Attribute(name=n, low=0, high=1, step=0.1) for n in "xyz"),
)  # fmt: skip

texts = st.text(st.characters(), max_size=30)  # surrogates, NUL, line breaks and all


@st.composite
def tables(draw: st.DrawFn) -> ChoiceTable:
    singles = []
    for _ in range(draw(st.integers(1, 6))):
        scenario = draw(st.sampled_from([TWO, THREE]))
        options = draw(st.integers(2, 3))
        values = [[draw(st.sampled_from((400, 900) if k == 0 and scenario is TWO else (0, 1)))
                   for k in range(scenario.n_attributes)] for _ in range(options)]  # fmt: skip
        singles.append(
            Trial(
                scenario_id=scenario.id,
                values=tuple(map(tuple, values)),
                label=draw(st.none() | st.integers(0, options - 1)),
                flipped=draw(st.booleans()),
                attribute_order=draw(st.none() | st.permutations(range(scenario.n_attributes)).map(tuple)),
            )
        )
    trials = TrialSet.from_trials([TWO, THREE], singles)
    sizes = [trial.n_options for _, trial in trials]
    chosen = [draw(st.integers(-1, size - 1)) for size in sizes]
    status = ["answered" if c >= 0 else draw(st.sampled_from(["refused", "failed"])) for c in chosen]
    numbers = st.floats(-50, 0) | st.just(math.nan)
    logprob = np.full((len(sizes), max(sizes)), np.nan)
    for i, size in enumerate(sizes):
        logprob[i, :size] = [draw(numbers) for _ in range(size)]
    return ChoiceTable(
        trials=trials,
        model=draw(st.text("abc/0", max_size=4)),
        probe="choice(x,y)",
        chosen=np.array(chosen, dtype=np.int8),
        status=np.array(status),
        text=tuple(draw(texts) for _ in sizes),
        logprob=logprob,
        mass_outside=np.array([draw(numbers) for _ in sizes]),
        logprob_floor=np.array([draw(numbers) for _ in sizes]),
    )


quick = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(table=tables())
def test_json_lines_lose_nothing(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("t") / "choices.jsonl"
    table.to_jsonl(path)
    assert ChoiceTable.from_jsonl(path) == table


@quick
@given(table=tables())
def test_csv_loses_nothing(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("t") / "choices.csv"
    table.to_csv(path)
    assert ChoiceTable.from_csv(path, [TWO, THREE]) == table


def test_csv_keeps_every_kind_of_line_break(make_world, tmp_path):
    _, _, trials = make_world(n_scenarios=1, n_trials=4)
    table = replace(ChoiceTable.from_choices(trials, [0] * 4), text=("\r", "a\r\nb", "\n", '"\x00\u2028,'))
    table.to_csv(tmp_path / "t.csv")
    assert ChoiceTable.from_csv(tmp_path / "t.csv", trials.scenarios) == table


@quick
@given(table=tables(), data=st.data())
def test_frames_lose_nothing_and_may_be_in_any_order(table, data):
    frame = table.to_pandas()
    assert ChoiceTable.from_pandas(frame, [TWO, THREE]) == table
    order = data.draw(st.permutations(range(len(table))))
    shuffled = ChoiceTable.from_pandas(frame.iloc[order], [TWO, THREE])
    pairs = [(trial, table.text[i], int(table.chosen[i])) for i, (_, trial) in enumerate(table.trials)]
    moved = [(trial, shuffled.text[i], int(shuffled.chosen[i])) for i, (_, trial) in enumerate(shuffled.trials)]
    assert sorted(map(repr, pairs)) == sorted(map(repr, moved))


@quick
@given(table=tables(), data=st.data())
def test_rows_stay_with_their_trials(table, data):
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(table), max_size=len(table))))
    kept = table.take(mask)
    assert kept.text == tuple(text for text, keep in zip(table.text, mask, strict=True) if keep)
    assert [t for _, t in kept.trials] == [t for (_, t), keep in zip(table.trials, mask, strict=True) if keep]
    assert kept.labelled().labels.tolist() == kept.chosen.tolist()


def test_agreement_counts_valid_choices_only(make_world):
    _, _, trials = make_world(n_scenarios=1, n_trials=10)
    chosen = trials.labels.astype(int)
    chosen[:2] = -1
    chosen[2] = 1 - chosen[2]
    table = ChoiceTable.from_choices(trials, chosen)
    assert table.agreement() == pytest.approx(7 / 8)
    assert table.agreement(ChoiceTable.from_choices(trials, trials.labels)) == pytest.approx(7 / 8)
    assert table.statuses() == {"answered": 8, "missing": 2}
    assert "8 of 10" in table.sentences()[0]


def test_agreement_is_undefined_without_choices_or_labels(make_world):
    _, _, trials = make_world(n_scenarios=1, n_trials=5)
    assert math.isnan(ChoiceTable.from_choices(trials, [-1] * 5).agreement())
    assert math.isnan(ChoiceTable.from_choices(trials.with_labels(None), [0] * 5).agreement())


def test_columns_that_do_not_fit_are_refused(make_world):
    _, _, trials = make_world(n_scenarios=1, n_trials=5)
    with pytest.raises(MeasureError, match="5 trials need 5 rows"):
        ChoiceTable.from_choices(trials, [0, 1])
    with pytest.raises(MeasureError, match="not among"):
        ChoiceTable.from_choices(trials, [0, 1, 2, 0, 0])
    table = ChoiceTable.from_choices(trials, [0] * 5)
    with pytest.raises(MeasureError, match='exactly where its status is "answered"'):
        ChoiceTable(**{**vars(table), "status": np.array(["refused"] * 5)})


def test_broken_files_are_refused_by_name(tmp_path, make_world):
    _, _, trials = make_world(n_scenarios=1, n_trials=3)
    table = ChoiceTable.from_choices(trials, [0, 1, -1])
    table.to_jsonl(tmp_path / "a.jsonl")
    text = (tmp_path / "a.jsonl").read_text()
    (tmp_path / "cut.jsonl").write_text(text[:-30])
    with pytest.raises(MeasureError, match=r"cut\.jsonl: line 4 is not JSON"):
        ChoiceTable.from_jsonl(tmp_path / "cut.jsonl")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(MeasureError, match="does not hold a choice_table"):
        ChoiceTable.from_jsonl(tmp_path / "empty.jsonl")
    (tmp_path / "b.csv").write_text("scenario_id,chosen\ns,1\n")
    with pytest.raises(MeasureError, match=r"b\.csv lacks the columns"):
        ChoiceTable.from_csv(tmp_path / "b.csv", trials.scenarios)
    (tmp_path / "c.jsonl").write_text(text.replace('"chosen": 1', '"picked": 1'))
    with pytest.raises(IntrospectError, match="chosen"):
        ChoiceTable.from_jsonl(tmp_path / "c.jsonl")
