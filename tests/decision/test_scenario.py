import numpy as np
import pytest
from hypothesis import given

from introspect.decision import Attribute, DecisionScenario
from introspect.errors import ScenarioError
from introspect.testing.strategies import scenarios

AXES = [{"name": "p", "low": 0, "high": 10}, {"name": "q", "low": 0, "high": 10}]


def scenario(**changes):
    fields = {"id": "k1", "chooser": "Ada", "item": "lot", "question": "Which lot?", "attributes": AXES}
    return DecisionScenario(**{**fields, **changes})


@given(scenarios())
def test_encoding_has_one_column_per_predictor_and_stays_in_the_unit_range(scenario):
    lows = [a.grid.at(np.array(0)) for a in scenario.attributes]
    highs = [a.grid.at(np.array(a.grid.n - 1)) for a in scenario.attributes]
    encoded = scenario.encode([[lows, highs]])
    assert encoded.shape == (1, 2, scenario.n_predictors)
    assert (encoded >= -1e-12).all()
    assert (encoded <= 1 + 1e-12).all()
    assert len(set(scenario.predictors)) == scenario.n_predictors


@given(scenarios())
def test_json_gives_the_scenario_back(scenario):
    assert DecisionScenario.model_validate_json(scenario.model_dump_json()) == scenario


def test_the_first_level_of_a_categorical_attribute_is_the_one_others_are_measured_against():
    axes = [*AXES, {"name": "c", "levels": ["red", "green", "blue"], "ordered": False}]
    k = scenario(attributes=axes)
    assert k.predictors == ("p", "q", "c=green", "c=blue")
    assert k.encode([[5, 0, 0], [5, 0, 1], [5, 0, 2]])[:, 2:].tolist() == [[0, 0], [1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"attributes": AXES[:1]}, "scenario 'k1': attributes must be 2 to 10, got 1"),
        ({"attributes": [{"name": f"a{i}", "low": 0, "high": 1} for i in range(11)]}, "got 11"),
        ({"attributes": [AXES[0], AXES[0]]}, "scenario 'k1': attributes must have distinct names, got 'p'"),
        (
            {"attributes": [AXES[0], {"name": "q", "low": 3, "high": 1}]},
            "attribute 'q': low must be below high",
        ),
        ({"attributes": [AXES[0], {"name": "q", "low": 3, "hihg": 1}]}, "unknown field 'hihg'"),
        ({"attributes": None}, "scenario 'k1': attributes:"),
        ({"chooser": "A\nB"}, "scenario 'k1': chooser: must be one line"),
        ({"chooser": False}, "scenario 'k1': chooser: input should be a valid string, got False"),
        ({"item": " "}, "scenario 'k1': item: must not be empty"),
        ({"colour": 1}, "scenario 'k1': unknown field 'colour'"),
    ],
)
def test_bad_scenarios_are_refused_in_one_line_that_names_scenario_and_field(changes, said):
    with pytest.raises(ScenarioError) as error:
        scenario(**changes)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_field_is_named():
    with pytest.raises(ScenarioError, match="scenario 'k1': field 'chooser' is missing"):
        DecisionScenario(id="k1", item="lot", question="?", attributes=AXES)


def test_values_of_another_width_are_refused():
    with pytest.raises(ScenarioError, match=r"scenario 'k1'.*2 attributes.*\(3,\)"):
        scenario().encode([1, 2, 3])


def test_an_attribute_is_found_by_name_or_the_known_ones_are_listed():
    assert scenario().attribute("q") == Attribute(**AXES[1])
    with pytest.raises(ScenarioError, match=r"no attribute 'z'.*p, q"):
        scenario().attribute("z")
