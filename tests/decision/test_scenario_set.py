import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.decision import Attribute, DecisionScenario, ScenarioSet, check_leakage
from introspect.errors import ScenarioError
from introspect.testing.strategies import scenario_sets

GOOD = """
scenarios:
  - id: k1
    chooser: Ada
    item: lot
    question: Which lot?
    attributes:
      - {name: p, low: 0, high: 10}
      - {name: q, low: 0, high: 1}
"""


def contexts(n: int) -> ScenarioSet:
    axes = [Attribute(name=name, low=0, high=100) for name in "pq"]
    return ScenarioSet(
        DecisionScenario(id=f"k{i}", chooser=f"K{i}", item="lot", question="Which?", attributes=axes) for i in range(n)
    )


@settings(max_examples=40)
@given(scenario_sets())
def test_files_give_the_same_scenarios_back(scenarios):
    assert ScenarioSet.from_yaml(scenarios.to_yaml()) == scenarios
    assert ScenarioSet.from_json(scenarios.to_json()) == scenarios
    assert ScenarioSet.from_json(scenarios.to_json()).hash == scenarios.hash


@pytest.mark.parametrize("ending", ["yaml", "yml", "json"])
def test_saving_and_loading_by_path(tmp_path, ending):
    contexts(3).save(tmp_path / f"c.{ending}")
    assert ScenarioSet.load(tmp_path / f"c.{ending}") == contexts(3)


@given(st.integers(2, 30), st.integers(0, 5), st.data())
def test_a_split_is_disjoint_complete_and_reproducible(n, seed, data):
    size = data.draw(st.integers(1, n - 1))
    a, b = contexts(n).split(size, rng=seed)
    assert len(a) == size
    assert sorted(a.ids + b.ids) == sorted(contexts(n).ids)
    assert contexts(n).split(size, rng=seed) == (a, b)


@given(st.integers(2, 30), st.integers(0, 5), st.data())
def test_folds_test_every_scenario_once(n, seed, data):
    k = data.draw(st.integers(2, n))
    folds = contexts(n).folds(k, rng=seed)
    assert sorted(i for _, test in folds for i in test.ids) == sorted(contexts(n).ids)
    assert all(sorted(train.ids + test.ids) == sorted(contexts(n).ids) for train, test in folds)
    assert max(len(t) for _, t in folds) - min(len(t) for _, t in folds) <= 1


def test_a_share_splits_and_a_sample_keeps_the_order():
    a, b = contexts(10).split(0.3, rng=1)
    assert (len(a), len(b)) == (3, 7)
    drawn = contexts(10).sample(4, rng=1).ids
    assert len(set(drawn)) == 4
    assert list(drawn) == sorted(drawn)
    assert contexts(10).filter(lambda s: s.id < "k3").ids == ("k0", "k1", "k2")
    assert contexts(4)[1:3].ids == ("k1", "k2")
    assert "k1" in contexts(2)
    assert "k2" not in contexts(2)


@pytest.mark.parametrize("size", [0, 10, 11, 0.0, 1.0, 0.01, -1, 1.5])
def test_a_split_that_leaves_a_side_empty_is_refused(size):
    with pytest.raises(ScenarioError, match="leave both sides non-empty"):
        contexts(10).split(size, rng=0)


def test_impossible_samples_and_folds_are_refused():
    for call in (lambda: contexts(3).sample(4, rng=0), lambda: contexts(3).folds(1, rng=0)):
        with pytest.raises(ScenarioError):
            call()


def test_an_id_used_twice_is_refused():
    with pytest.raises(ScenarioError, match="'k0' is used twice"):
        contexts(2) + contexts(1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            GOOD.replace("high: 10", "high: -1"),
            "scenario 'k1': attributes.0: attribute 'p': low must be below high",
        ),
        (GOOD.replace("high: 10", "high: .nan"), "attribute 'p': high: input should be a finite number"),
        (GOOD.replace("name: q", "name: p"), "scenario 'k1': attributes must have distinct names, got 'p'"),
        (GOOD.replace("      - {name: q, low: 0, high: 1}\n", ""), "attributes must be 2 to 10, got 1"),
        (GOOD.replace("item", "itme"), "unknown field 'itme'"),
        (GOOD.replace("    chooser: Ada\n", ""), "scenario 'k1': field 'chooser' is missing"),
        (GOOD.replace("id: k1", "id: [k1]"), "id: input should be a valid string"),
        (GOOD.replace("- id: k1", "- idd: k1"), "scenario number 1"),
        (GOOD.replace("low: 0, high: 10", "low: 0, high: 10, low: 5"), "'low' is given twice; keep one"),
        (GOOD + GOOD.split("scenarios:\n")[1], "scenario id 'k1' is used twice"),
        (GOOD.replace("scenarios:", "contexts:"), 'a mapping with "scenarios", got keys contexts'),
        ("scenarios: 3", "expected a list of scenarios, got int"),
        ("- 3", "scenario number 1: expected a mapping, got 3"),
        ("", "there is nothing in it; write a list of scenarios"),
        ("a: [1, 2", "not readable as YAML"),
        ("a: b: c", "not readable as YAML"),
        ("!!python/object/apply:os.getcwd []", "not readable as YAML"),
        ("version: 99\nscenarios: []", "format version 99 is not known here"),
    ],
)
def test_bad_files_are_refused_in_one_line_that_names_file_scenario_and_field(tmp_path, text, said):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as error:
        ScenarioSet.load(path)
    assert said in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"- \xff\xfe")
    (tmp_path / "cut.json").write_text('[{"id": ')
    for name, said in (("none.yaml", "cannot be read"), ("latin.yaml", "not UTF-8"), ("cut.json", "as JSON")):
        with pytest.raises(ScenarioError, match=f"{name}.*{said}"):
            ScenarioSet.load(tmp_path / name)
    with pytest.raises(ScenarioError, match=r"end in \.yaml"):
        contexts(1).save(tmp_path / "c.txt")


def test_a_plain_list_and_json_numbers_as_people_write_them_are_enough():
    row = json.loads(contexts(1).to_json())["scenarios"][0]
    assert row["attributes"] == [{"name": n, "low": 0, "high": 100} for n in "pq"]
    assert ScenarioSet.from_json(json.dumps([row])) == contexts(1)


def test_leakage_sees_through_case_spaces_and_underscores():
    def one(id, chooser, item, *names):
        axes = [Attribute(name=n, low=0, high=9) for n in names]
        return DecisionScenario(id=id, chooser=chooser, item=item, question="Which?", attributes=axes)

    report = check_leakage(
        [one("a", "Ada L", "Car", "price", "top_speed")], [one("b", "ada-l", "car ", "Top Speed", "w")]
    )
    assert (report.scenarios, report.choosers, report.items, report.attributes) == (
        (),
        ("ada l",),
        ("car",),
        ("top speed",),
    )
    assert not report.clean
    assert len(report.sentences()) == 3
    clean = check_leakage([one("a", "A", "car", "p", "q")], [one("b", "B", "van", "r", "s")])
    assert clean.clean
    assert clean.sentences() == ()


@given(scenario_sets())
def test_a_set_shares_everything_with_itself_and_leakage_is_symmetric(scenarios):
    report = check_leakage(scenarios, scenarios)
    assert report.scenarios == tuple(sorted(scenarios.ids))
    assert check_leakage(scenarios[:1], scenarios) == check_leakage(scenarios, scenarios[:1])
