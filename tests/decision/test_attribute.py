import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from introspect.decision import Attribute
from introspect.errors import ScenarioError
from introspect.testing.strategies import attributes


def every_value(attribute: Attribute) -> np.ndarray:
    n = attribute.grid.n
    index = np.arange(n) if n <= 300 else np.unique(np.linspace(0, n - 1, 300).astype(int))
    return attribute.grid.at(index)


@given(attributes())
def test_every_grid_value_lies_inside_the_range_and_is_distinct(attribute):
    values = every_value(attribute)
    assert values.min() >= attribute.low
    assert values.max() <= attribute.high
    assert (np.diff(values) > 0).all()
    assert attribute.grid.n >= 2


@given(attributes())
def test_parse_is_the_exact_inverse_of_format_on_the_grid(attribute):
    values = every_value(attribute)
    texts = [attribute.format(v) for v in values]
    assert [attribute.parse(t) for t in texts] == values.tolist()
    assert len(set(texts)) == len(texts)
    assert not any(c in t for t in texts for c in "eE\n") or attribute.levels


@given(attributes(kinds=("numeric",)), st.floats(allow_nan=False, allow_infinity=False))
def test_values_off_the_grid_survive_their_text_too(attribute, value):
    assert attribute.parse(attribute.format(value)) == value


@given(attributes())
def test_nearest_finds_every_grid_value_itself(attribute):
    values = every_value(attribute)
    assert (attribute.grid.at(attribute.grid.nearest(values)) == values).all()


@given(attributes(kinds=("numeric", "ordered")))
def test_encoding_rises_from_zero_at_low_to_one_at_high(attribute):
    encoded = attribute.encode(every_value(attribute))
    assert (np.diff(encoded) > 0).all()
    assert encoded.min() >= -1e-12
    assert encoded.max() <= 1 + 1e-12
    assert attribute.encode([attribute.low, attribute.high]).tolist() == pytest.approx([0, 1])


@given(
    st.integers(-1000, 1000),
    st.integers(1, 1000),
    st.floats(0.01, 1000),
    st.floats(-1000, 1000),
    st.floats(0, 1),
)
def test_a_change_of_units_leaves_the_encoding_alone(low, width, factor, shift, place):
    before = Attribute(name="x", low=low, high=low + width)
    after = Attribute(name="x", low=low * factor + shift, high=(low + width) * factor + shift, step=None, unit="other")
    value = low + place * width
    # The error of (value - low) / width in the new unit is that of representing value there.
    slack = 1e-12 + 4 * np.finfo(float).eps * max(abs(after.low), abs(after.high)) / (after.high - after.low)
    assert abs(before.encode(value) - after.encode(value * factor + shift)) <= slack


@pytest.mark.parametrize(
    ("low", "high", "step", "decimals"),
    [
        (0, 100, 1, 0),
        (0.4, 5.4, 1, 0),
        (1, 3.5, 0.1, 1),
        (0, 1, 0.1, 1),
        (0.1, 0.9, 0.01, 2),
        (0, 0.05, 0.001, 3),
    ],
)
def test_default_steps_follow_the_width(low, high, step, decimals):
    grid = Attribute(name="x", low=low, high=high).grid
    assert grid.step == step
    assert grid.decimals == decimals
    assert np.allclose(grid.at(np.arange(grid.n)) / step, np.rint(grid.at(np.arange(grid.n)) / step))


def test_a_given_step_counts_from_low():
    grid = Attribute(name="x", low=1, high=10, step=2).grid
    assert grid.at(np.arange(grid.n)).tolist() == [1, 3, 5, 7, 9]


def test_a_log_scale_has_round_values_and_measures_ratios():
    area = Attribute(name="area", low=0.001, high=1000, scale="log")
    assert area.encode([0.001, 1, 1000]).tolist() == pytest.approx([0, 0.5, 1])
    assert [area.format(v) for v in area.grid.at(np.array([0, 1, area.grid.n - 1]))] == [
        "0.001",
        "0.0011",
        "1000",
    ]


def test_levels_are_indices_and_ordered_ones_are_spread_evenly():
    size = Attribute(name="size", levels=["S", "M", "L"])
    assert (size.kind, size.low, size.high) == ("ordered", 0, 2)
    assert size.encode([0, 1, 2]).tolist() == [0, 0.5, 1]
    assert [size.format(v) for v in (0.0, 2.0)] == ["S", "L"]
    assert size.predictors == ("size",)
    assert Attribute(name="size", levels=["S", "M", "L"], ordered=False).predictors == ("size=M", "size=L")


@given(attributes())
def test_json_gives_the_attribute_back(attribute):
    assert Attribute.model_validate_json(attribute.model_dump_json()) == attribute


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"low": 5, "high": 5}, "attribute 'x': low must be below high, got low=5 and high=5"),
        ({"low": 5, "high": 1}, "low must be below high"),
        ({"low": math.nan, "high": 1}, "low: input should be a finite number, got nan"),
        ({"low": 0, "high": math.inf}, "high: input should be a finite number, got inf"),
        ({"low": -1e308, "high": 1e308}, "wider than a number can hold"),
        ({"low": 0}, "give low and high, or levels"),
        ({"low": "much", "high": 1}, "low: input should be a valid number"),
        ({"low": 0, "high": 10, "step": 0}, "step must be above 0"),
        ({"low": 0, "high": 10, "step": 11}, "at most high - low"),
        ({"low": 0, "high": 10, "step": 1 / 3}, "round them or change the unit"),
        ({"low": 0, "high": 10, "scale": "log"}, "a log scale needs low > 0, got low=0"),
        ({"low": 1, "high": 10, "scale": "cubic"}, "scale:"),
        ({"levels": ["a"]}, "two or more distinct names"),
        ({"levels": ["a", "a"]}, "two or more distinct names"),
        ({"levels": ["a", "b"], "low": 3}, "give levels or low, high and step, not both"),
        ({"levels": ["a", "b"], "scale": "log"}, "levels have no log scale"),
        ({"low": 0, "high": 1, "colour": "red"}, "unknown field 'colour'"),
        ({"name": "", "low": 0, "high": 1}, "name: must not be empty"),
        ({"name": "a=b", "low": 0, "high": 1}, 'must not contain "="'),
        ({"name": "a\nb", "low": 0, "high": 1}, "one line of plain text"),
        ({"low": 0, "high": 1, "unit": "k\rg"}, "one line of plain text"),
    ],
)
def test_bad_attributes_are_refused_in_one_line_that_names_them(given, said):
    fields = {"name": "x", **given}
    with pytest.raises(ScenarioError) as error:
        Attribute(**fields)
    assert said in str(error.value)
    assert str(error.value).startswith("attribute ")
    assert "\n" not in str(error.value)
    with pytest.raises(ScenarioError):
        Attribute.model_validate(fields)


def test_values_that_are_no_values_are_refused():
    size = Attribute(name="size", levels=("S", "L"))
    price = Attribute(name="price", low=0, high=9)
    for call in (
        lambda: size.format(2),
        lambda: size.format(0.5),
        lambda: size.parse("XL"),
        lambda: price.parse("cheap"),
        lambda: price.parse("nan"),
        lambda: price.format(math.inf),
        lambda: Attribute(name="c", levels=("r", "g"), ordered=False).encode([0]),
    ):
        with pytest.raises(ScenarioError, match=r"attribute '(size|price|c)'"):
            call()


def test_attributes_cannot_be_changed():
    with pytest.raises(ValueError):
        Attribute(name="x", low=0, high=1).low = 5
