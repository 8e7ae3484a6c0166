import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import introspect.testing
from introspect.backend import Message, Request
from introspect.testing import attributes, preferences, replies, scenario_sets, scenarios, trial_sets, trials
from introspect.testing.conformance import check_reply

FEW = settings(max_examples=25, deadline=None)


def test_importing_the_testing_room_does_not_import_hypothesis():
    code = "import sys, introspect.testing; print('hypothesis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_listed_name_can_be_had_and_no_other():
    assert all(callable(getattr(introspect.testing, name)) for name in introspect.testing.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        introspect.testing.nothing  # noqa: B018


@FEW
@given(attributes(kinds=("categorical",)), attributes(kinds=("numeric",), log_scale=False))
def test_attributes_are_of_the_kinds_asked_for(levelled, numeric):
    assert levelled.kind == "categorical"
    assert (numeric.kind, numeric.scale) == ("numeric", "linear")


@FEW
@given(scenario_sets(scenarios(min_attributes=3, max_attributes=3, ids=st.sampled_from("ab"))))
def test_scenarios_have_the_sizes_asked_for_and_sets_unique_ids(contexts):
    assert {s.n_attributes for s in contexts} == {3}
    assert set(contexts.ids) <= {"a", "b"}


@FEW
@given(st.data())
def test_preferences_fit_their_scenario_and_prefer_something(data):
    scenario = data.draw(scenarios())
    assert data.draw(preferences(scenario)).vector(scenario).any()


@FEW
@given(trial_sets(labelled=True, n_options=st.just(3)), trial_sets(labelled=False))
def test_trials_are_legal_and_labelled_as_asked(labelled, bare):
    assert {block.n_options for block in labelled.blocks} == {3}
    assert (labelled.labels >= 0).all()
    assert (bare.labels == -1).all()
    for block in labelled.blocks:
        block.check_values()


@FEW
@given(replies(), replies(answers=None))
def test_replies_are_legal_for_their_request(asked, plain):
    request = Request(messages=(Message(role="user", content="A or B?"),), answers=("A", "B"))
    check_reply(request, asked)
    check_reply(request.model_copy(update={"answers": None}), plain)


@FEW
@given(st.data())
def test_single_trials_fit_their_scenario(data):
    scenario = data.draw(scenarios())
    trial = data.draw(trials(scenario, n_options=3))
    assert trial.scenario_id == scenario.id
    assert (trial.n_options, len(trial.values[0])) == (3, scenario.n_attributes)
    for axis, value in zip(scenario.attributes, trial.values[0], strict=True):
        assert axis.low <= value <= axis.high
