import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.decision import Attribute, DecisionScenario, Trial, TrialBlock, TrialSet, option_label
from introspect.decision.styles.chat import ChatStyle
from introspect.errors import ScenarioError
from introspect.testing.strategies import attributes, scenario_sets, scenarios, trial_sets

FEW = settings(max_examples=25)
AXES = (Attribute(name="p", low=0, high=10), Attribute(name="q", levels=("x", "y")))
K = DecisionScenario(id="k", chooser="Ada", item="lot", question="Which lot?", attributes=AXES)


def small() -> TrialSet:
    return TrialSet(
        [TrialBlock.of((K,), [0, 0, 0], [[[1, 0], [2, 1]], [[3, 0], [4, 1]], [[5, 0], [6, 1]]], [0, 1, -1])]
    )


@FEW
@given(trial_sets())
def test_single_records_give_the_same_set_back(trials):
    assert TrialSet.from_trials(trials.scenarios, [trial for _, trial in trials]) == trials
    assert [trials[i] for i in range(len(trials))] == list(trials)


@FEW
@given(trial_sets())
def test_a_mirrored_set_holds_every_trial_and_then_its_mirror_image(trials):
    both = trials.mirrored()
    assert len(both) == 2 * len(trials)
    assert both.take(slice(0, None, 2)) == trials
    for at, (scenario, trial) in enumerate(trials):
        of, mirror = both[2 * at + 1]
        n = trial.n_options
        assert (of, mirror.values, mirror.flipped) == (scenario, trial.values[::-1], not trial.flipped)
        assert mirror.label == (None if trial.label is None else n - 1 - trial.label)


@FEW
@given(trial_sets())
def test_json_lines_lose_nothing(tmp_path_factory, trials):
    path = tmp_path_factory.mktemp("io") / "trials.jsonl"
    trials.to_jsonl(path)
    again = TrialSet.from_jsonl(path)
    assert again == trials
    assert again.scenarios == trials.scenarios


@settings(max_examples=25)
@given(trial_sets())
def test_prompts_read_the_same_after_saving_and_loading(tmp_path_factory, trials):
    path = tmp_path_factory.mktemp("io") / "trials.jsonl"
    trials.to_jsonl(path)
    style = ChatStyle(attribute_order="trial", show_ranges=True)
    before = [style.choice(scenario, trial).messages for scenario, trial in trials]
    assert [style.choice(scenario, trial).messages for scenario, trial in TrialSet.from_jsonl(path)] == before


@FEW
@given(trial_sets())
def test_columns_lose_nothing_and_fit_in_a_plain_npz(tmp_path_factory, trials):
    path = tmp_path_factory.mktemp("io") / "trials.npz"
    np.savez(path, **trials.to_columns())
    with np.load(path, allow_pickle=False) as columns:
        assert TrialSet.from_columns(dict(columns)) == trials


def test_columns_that_are_not_all_there_are_refused():
    columns = small().to_columns()
    del columns["0.label"]
    with pytest.raises(ScenarioError, match="trial columns must be"):
        TrialSet.from_columns(columns)
    with pytest.raises(ScenarioError, match="must be 0 to 10, got 99"):
        TrialSet.from_columns({**small().to_columns(), "0.values": small().blocks[0].values + 98})


@FEW
@given(trial_sets())
def test_csv_loses_nothing(tmp_path_factory, trials):
    path = tmp_path_factory.mktemp("io") / "trials.csv"
    trials.to_csv(path)
    assert TrialSet.from_csv(path, trials.scenarios) == trials


@settings(max_examples=25)
@given(trial_sets())
def test_data_frames_lose_nothing(trials):
    frame = trials.to_pandas()
    assert len(frame) == len(trials)
    assert TrialSet.from_pandas(frame, trials.scenarios) == trials


def test_what_pandas_makes_of_the_csv_is_read_too(tmp_path):
    import pandas as pd

    small().to_csv(tmp_path / "t.csv")
    assert TrialSet.from_pandas(pd.read_csv(tmp_path / "t.csv"), [K]) == small()


@FEW
@given(trial_sets(), st.data())
def test_take_keeps_exactly_the_trials_asked_for(trials, data):
    rows = list(trials)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), dtype=bool)
    assert list(trials.take(mask)) == [row for row, keep in zip(rows, mask, strict=True) if keep]
    assert trials.take(np.flatnonzero(mask)) == trials.take(mask)
    assert list(trials.take(slice(1, None))) == rows[1:]
    assert {s.id for s in trials.take(mask).scenarios} == {s.id for s, t in trials.take(mask)}


@FEW
@given(trial_sets())
def test_scenarios_partition_the_trials(trials):
    parts = [trials.for_scenario(s.id) for s in trials.scenarios]
    assert sum(map(len, parts)) == len(trials)
    assert all({s.id for s, _ in part} == {scenario.id} for part, scenario in zip(parts, trials.scenarios, strict=True))
    assert sorted(map(repr, TrialSet.concat(parts))) == sorted(map(repr, trials))
    assert trials.scenario_ids.tolist() == [s.id for s, _ in trials]


@FEW
@given(trial_sets())
def test_encoding_a_block_is_encoding_its_scenarios_one_by_one(trials):
    for block in trials.blocks:
        encoded = block.encoded()
        for i in range(block.n):
            by_hand = block.scenarios[block.scenario_index[i]].encode(block.values[i])
            assert encoded[i] == pytest.approx(by_hand, abs=1e-12)
        assert (block.encoded(slice(1, 3)) == encoded[1:3]).all()


@FEW
@given(trial_sets(labelled=True))
def test_the_hash_moves_with_labels_values_and_scenarios_and_with_nothing_else(trials):
    assert TrialSet(trials.blocks).hash == trials.hash
    first = (trials.labels + 1) % 2
    assert trials.with_labels(first).hash != trials.hash
    assert trials.with_labels(first).with_labels(trials.labels).hash == trials.hash
    changed = [
        TrialBlock(
            tuple(s.model_copy(update={"chooser": s.chooser + "!"}) for s in b.scenarios),
            b.scenario_index, b.values, b.label, b.flipped, b.order,
        )
        for b in trials.blocks
    ]  # fmt: skip
    assert TrialSet(changed).hash != trials.hash


def test_sets_built_in_different_ways_are_equal():
    one = small()
    parts = [one.take([i]) for i in range(3)]
    assert TrialSet.concat(parts) == one
    other = DecisionScenario(id="other", chooser="Bo", item="lot", question="Which lot?", attributes=AXES)
    wide = TrialBlock.of((other, K), [1, 1, 1], one.blocks[0].values, one.labels)
    assert TrialSet([wide]) == one
    assert TrialSet([wide]).scenarios == (K,)
    assert one != TrialSet()
    assert repr(one) == "TrialSet(3 trials, 1 scenarios, 2 labelled)"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([["z", "0", "1", "x", "2", "y"]], "trial 1: unknown scenario 'z'"),
        (
            [["k", "0", "1", "x", "2", "y"], ["k", "2", "1", "x", "2", "y"]],
            "trial 2 of scenario 'k': label must be",
        ),
        ([["k", "0.5", "1", "x", "2", "y"]], "label must be a whole number"),
        ([["k", "", "11", "x", "2", "y"]], "attribute 'p': values must be 0 to 10, got 11"),
        ([["k", "", "much", "x", "2", "y"]], "attribute 'p': 'much' is not a number"),
        ([["k", "", "1", "z", "2", "y"]], "attribute 'q': 'z' is none of its levels"),
        ([["k", "", "1", "x", "2", ""]], "column B.2 is empty"),
        ([["k", "", "1", "x", "", ""]], "2 to 26 options, got 1"),
        ([["k", "", "1"]], "trial 1 has 3 cells, the header 6"),
    ],
)
def test_bad_rows_are_refused_in_one_line_that_names_file_and_trial(tmp_path, rows, said):
    path = tmp_path / "t.csv"
    path.write_text("\n".join(",".join(row) for row in [["scenario_id", "label", "A.1", "A.2", "B.1", "B.2"], *rows]))
    with pytest.raises(ScenarioError) as error:
        TrialSet.from_csv(path, [K])
    assert said in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_bad_files_are_refused(tmp_path):
    small().to_jsonl(tmp_path / "good.jsonl")
    head, first, *_ = (tmp_path / "good.jsonl").read_text().splitlines()
    bad = {
        "empty.jsonl": "",
        "headless.jsonl": first,
        "cut.jsonl": f"{head}\n{first[:-9]}",
        "list.jsonl": f"{head}\n[]",
        "unknown.jsonl": f"{head}\n" + json.dumps({**json.loads(first), "scenario_id": "z"}),
        "field.jsonl": f"{head}\n" + json.dumps({**json.loads(first), "lable": 1}),
        "outside.jsonl": f"{head}\n" + first.replace("1.0", "99.0"),
    }
    for name, text in bad.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(ScenarioError, match=name):
            TrialSet.from_jsonl(tmp_path / name)
    (tmp_path / "t.csv").write_text("scenario,A,B\n")
    with pytest.raises(ScenarioError, match=r"needs columns scenario_id, A\.1"):
        TrialSet.from_csv(tmp_path / "t.csv", [K])
    with pytest.raises(ScenarioError, match="cannot be read"):
        TrialSet.from_jsonl(tmp_path / "none.jsonl")
    with pytest.raises(ScenarioError, match="cannot be written"):
        small().to_csv(tmp_path / "no" / "such" / "folder.csv")


def test_columns_that_do_not_fit_together_are_refused():
    good = {"scenarios": (K,), "scenario_index": [0], "values": [[[1, 0], [2, 1]]]}
    for change, said in (
        ({"values": [[[1, 0]]]}, "2 to 26 options"),
        ({"values": [[[1], [2]]]}, "values must have shape"),
        ({"values": [[[1, 0], [np.nan, 1]]]}, "values must be finite"),
        ({"scenario_index": [1]}, "scenario_index must be 0 to 0"),
        ({"label": [2]}, "label must be -1"),
        ({"label": [0, 1]}, "label and flipped must have shape"),
        ({"scenarios": (K, K)}, "distinct ids"),
        ({"scenarios": ()}, "must share"),
    ):
        with pytest.raises(ScenarioError, match=said):
            TrialBlock.of(**{**good, **change})
    other = K.model_copy(update={"chooser": "Bo"})
    with pytest.raises(ScenarioError, match="two different scenarios are both called 'k'"):
        TrialSet([TrialBlock.of((K,), [0], good["values"]), TrialBlock.of((other,), [0], good["values"])])
    three = [[[1, 0], [2, 1], [3, 1]]]
    with pytest.raises(ScenarioError, match="two options, these have 3"):
        TrialBlock.of((K,), [0], three).differences()


def test_selections_that_select_nothing_sensible_are_refused():
    trials = small()
    for which in ([True, False], [3], [-4], [[0]], [0.5], ["k"]):
        with pytest.raises(ScenarioError):
            trials.take(which)
    for labels in ([0], [0, 1, 2], [0.0, 1.0, 0.0], [0, 1, -2]):
        with pytest.raises(ScenarioError):
            trials.with_labels(labels)
    with pytest.raises(ScenarioError, match="no trial of scenario 'z'"):
        trials.for_scenario("z")
    with pytest.raises(IndexError):
        trials[3]
    assert trials[-1] == trials[2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"values": ((1, 2),)}, "2 to 26 options"),
        ({"values": ((1, 2), (1,))}, "same number of values"),
        ({"values": ((1, 2), (1, float("inf")))}, "finite"),
        ({"label": 2}, "label must be below"),
        ({"label": -1}, "label"),
        ({"attribute_order": (0, 0)}, "list every attribute index once"),
        ({"colour": 1}, "unknown field 'colour'"),
    ],
)
def test_bad_single_trials_are_refused(change, said):
    with pytest.raises(ScenarioError, match=said) as error:
        Trial(**{"scenario_id": "k", "values": ((1, 2), (3, 4)), **change})
    assert str(error.value).startswith("trial of scenario 'k': ")


def test_options_are_lettered():
    assert [option_label(i) for i in (0, 1, 25)] == ["A", "B", "Z"]
    with pytest.raises(ValueError, match="0 to 25"):
        option_label(26)


@settings(max_examples=20)
@given(
    trial_sets(
        scenario_sets(scenarios(attributes=attributes(kinds=("numeric",), log_scale=False))),
        n_options=st.just(2),
    )
)
def test_differences_are_the_values_shown_over_the_declared_range(trials):
    for block in trials.blocks:
        scenario = [block.scenarios[i] for i in block.scenario_index]
        width = np.array([[a.high - a.low for a in s.attributes] for s in scenario])
        by_hand = (block.values[:, 0] - block.values[:, 1]) / width
        # Subtracting low first costs digits where low is large against the width.
        assert trials.differences(block) == pytest.approx(by_hand, abs=1e-9)
