"""What a beginner gives by mistake is told in a line that says what to give instead."""

from __future__ import annotations

from importlib import import_module
from typing import get_args

import pytest
from pydantic import BaseModel

import introspect
from introspect import (
    AdaptiveProbe,
    Attribute,
    BackendError,
    ChatStyle,
    ChoiceProbe,
    ConfigError,
    FunctionBackend,
    IntrospectError,
    MeasureError,
    Message,
    ModelRef,
    PreferenceSampler,
    Protocol,
    Request,
    ScenarioError,
    ScenarioSet,
    SelfReportProbe,
    SimulatedAgent,
    Study,
    StudyProtocol,
    TrainingSpec,
    TrialGenerator,
    ask,
    catalogue,
    open_model,
    plot_reports,
)

ROOMS = ("backend", "decision", "measure", "study", "training", "subjects", "bridges", "internals", "store", "analysis")
MODEL = FunctionBackend(lambda request: "A", name="always-a", version="1")


def test_a_study_of_what_is_no_reference_says_how_to_give_one(tmp_path):
    for wrong in ("gpt-4o", MODEL):
        with pytest.raises(ConfigError, match=r"needs a ModelRef, got .*\.info\.ref"):
            Study(wrong, catalogue()[:12], out=tmp_path)


def test_a_style_where_native_contexts_stand_is_told_apart(tmp_path):
    with pytest.raises(ConfigError, match=r"native are contexts .*, got ChatStyle. Name what comes after"):
        Study(SimulatedAgent().ref, catalogue()[:12], ChatStyle(), out=tmp_path)


def test_too_few_contexts_are_told_how_many_are_needed(tmp_path):
    with pytest.raises(ConfigError, match="Give at least 2"):
        Study(SimulatedAgent().ref, catalogue()[:1], out=tmp_path)


def test_a_name_alone_opens_nothing_and_the_error_shows_a_reference():
    with pytest.raises(BackendError, match=r"takes a ModelRef, got 'gpt-4o'.*provider='openai'"):
        open_model("gpt-4o")


def test_contexts_in_place_of_trials_are_told_apart():
    with pytest.raises(MeasureError, match=r"got ScenarioSet. Draw one: TrialGenerator"):
        ChoiceProbe(ChatStyle()).run(MODEL, catalogue()[:2])


def test_one_scenario_or_none_where_several_are_expected_is_told():
    one = catalogue().by_id("violin")
    for draw in (
        lambda given: TrialGenerator().trials(given, 2, rng=0),
        lambda given: PreferenceSampler().sample(given, rng=0),
        ScenarioSet,
    ):
        with pytest.raises(ScenarioError, match=r"got the one scenario 'violin' .*give a list of it"):
            draw(one)
        with pytest.raises(ScenarioError, match=r"are DecisionScenario records, got 'violin'. Make them with"):
            draw(["violin"])


@pytest.mark.parametrize("n", [2.5, "10", 0, True])
def test_a_number_of_trials_that_is_none_is_told(n):
    with pytest.raises(ScenarioError, match="must be a whole number of trials"):
        TrialGenerator().trials(catalogue()[:2], n, rng=0)


def test_a_misspelt_scenario_is_told_with_the_nearest_ones():
    with pytest.raises(ScenarioError, match=r"no scenario 'violn' in this set of 300; did you mean 'violin'"):
        catalogue().by_id("violn")
    with pytest.raises(ScenarioError, match=r"indexed by place; write by_id\('violin'\)"):
        catalogue()["violin"]


def test_weights_as_a_plain_mapping_are_taken_or_told_what_they_lack():
    contexts = [catalogue().by_id("violin")]
    plain = {"violin": dict.fromkeys(contexts[0].predictors, 1.0)}
    agent = SimulatedAgent().with_preferences(contexts, plain)
    assert set(agent.preference(contexts[0]).weights) == set(contexts[0].predictors)
    trials = TrialGenerator().trials(contexts, 2, rng=0)
    with pytest.raises(ScenarioError, match=r"write Preference\(scenario_id='violin', weights="):
        TrialGenerator().label(trials, plain, rng=0)


@pytest.mark.parametrize(("wrong", "meant"), [("Studdy", "Study"), ("choiceprobe", "ChoiceProbe")])
def test_a_misspelt_name_of_the_package_is_told_with_the_nearest_one(wrong, meant):
    with pytest.raises(AttributeError, match=f"no attribute '{wrong}'; did you mean '{meant}'"):
        getattr(introspect, wrong)
    assert not hasattr(introspect, "quite_another_thing")


def test_an_empty_file_of_scenarios_is_called_empty():
    with pytest.raises(ScenarioError, match=r"mine\.yaml: there is nothing in it"):
        ScenarioSet.from_yaml("", source="mine.yaml")


def test_trials_in_place_of_contexts_are_told_apart():
    with pytest.raises(MeasureError, match=r"asks about scenarios, got tuple. .*trials\.scenarios"):
        SelfReportProbe(ChatStyle()).run(MODEL, TrialGenerator().trials(catalogue()[:2], 2, rng=0), rng=0)


def test_a_style_in_place_of_a_probe_is_told_apart():
    with pytest.raises(MeasureError, match=r"got ChatStyle. Write AdaptiveProbe\(ChoiceProbe"):
        AdaptiveProbe(ChatStyle())


def test_text_in_place_of_a_request_is_told_apart():
    with pytest.raises(BackendError, match=r"list of Requests, got str. Write Request"):
        ask(MODEL, ["A or B?"])


class Listed:
    """A first backend of one's own, which returns where it should yield."""

    info = MODEL.info

    async def generate(self, requests):
        return ["A" for _ in requests]


class Texts(Listed):
    """And one that yields text."""

    async def generate(self, requests):
        for index, _ in enumerate(requests):
            yield index, "A"


def test_a_first_backend_is_told_what_it_should_yield():
    question = [Request(messages=(Message(role="user", content="A or B?"),))]
    for backend, said in (
        (Listed(), r"Listed.generate gave a coroutine; it must be an 'async def' that yields"),
        (Texts(), r"yielded a str for request 0; a backend yields index, Reply\(status='completed'"),
        ("gpt-4o", r"an object with info, probe, generate and aclose, got str. Open one with open_model\(ModelRef"),
    ):
        with pytest.raises(BackendError, match=said):
            ask(backend, question)


def test_a_figure_of_the_wrong_thing_says_what_it_draws():
    pytest.importorskip("matplotlib")
    with pytest.raises(ConfigError, match="draws the result of a study, got str"):
        plot_reports("result.json")


def test_a_parameter_that_an_agent_does_not_have_is_told_with_the_nearest_one():
    with pytest.raises(BackendError, match="did you mean 'side_bias'"):
        SimulatedAgent(position_bias=3)


def test_a_misspelt_field_of_any_record_is_named_with_what_was_meant_and_what_there_is():
    for made, near in (
        (lambda: ModelRef(provider="openai", modle="gpt"), "'modle', did you mean 'model'? (known: provider, model,"),
        (lambda: StudyProtocol(n_instill=3), "'n_instill', did you mean 'n_instil'? (known: name, n_instil,"),
        (lambda: TrainingSpec(epoch=3), "'epoch', did you mean 'epochs'? (known: epochs, batch_size,"),
        (lambda: Protocol(name="mine", repotr={}), "'repotr', did you mean 'report'? (known: protocol, name,"),
        (lambda: Attribute(nmae="power", low=0, high=1), "'nmae', did you mean 'name'? (known: name,"),
    ):
        with pytest.raises(IntrospectError) as caught:
            made()
        assert near in str(caught.value)
        assert "is missing" not in str(caught.value)


def test_a_misspelt_field_of_an_inner_record_is_told_with_the_fields_of_that_one():
    with pytest.raises(ConfigError, match=r"'report\.ask\.reprots', did you mean 'reports'\? \(known: .*reports"):
        Protocol(name="mine", report={"ask": {"reprots": 3}})


def test_a_wrong_value_is_told_with_what_it_should_be():
    with pytest.raises(ConfigError, match=r"StudyProtocol: n_instil: .*greater than or equal to 2, got 1$"):
        StudyProtocol(n_instil=1)
    with pytest.raises(ConfigError, match=r"StudyProtocol: rule: input should be 'linear'.*, got 'liner'$"):
        StudyProtocol(rule="liner")


def test_fields_without_their_names_are_told_with_an_example():
    with pytest.raises(ConfigError, match=r"by name, got 2 without one. Write ModelRef\(provider=..., model=...\)"):
        ModelRef("openai", "gpt-4o")


def test_stored_text_that_is_no_record_is_told_in_words_too():
    with pytest.raises(ConfigError, match=r"^ModelRef: field 'model' is missing$"):
        ModelRef.model_validate_json('{"provider": "openai"}')
    with pytest.raises(ConfigError, match=r"^ModelRef: invalid JSON"):
        ModelRef.model_validate_json("provider: openai")


def test_what_stands_in_a_mapping_given_by_mistake_is_not_repeated():
    with pytest.raises(ConfigError) as caught:
        ModelRef(provider="openai", model={"api_key": "sk-planted-1234567890"}, key="sk-planted-1234567890")
    assert "planted" not in str(caught.value)
    assert caught.value.__suppress_context__


def records() -> list[type[BaseModel]]:
    """Every record that a user can get hold of by a public name, and those that these are made of."""
    found: dict[type[BaseModel], None] = {}
    rooms = ("introspect", *(f"introspect.{room}" for room in ROOMS))
    for room in map(import_module, rooms):
        things = [getattr(room, name) for name in room.__all__]
        stack = [thing for thing in things if isinstance(thing, type) and issubclass(thing, BaseModel)]
        while stack:
            record = stack.pop()
            if record not in found:
                found[record] = None
                stack += [part for field in record.model_fields.values() for part in inside(field.annotation)]
    return list(found)


def inside(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in inside(part)]


def test_no_public_record_lets_an_error_of_pydantic_out():
    """Pydantic's own names a class of its own, several lines and a page on the web."""
    found = records()
    assert len(found) > 30
    for record in found:
        for given in ({"no_such_field_anywhere": 1}, {name: object() for name in record.model_fields}):
            for make in (lambda r=record, g=given: r(**g), lambda r=record, g=given: r.model_validate(g)):
                with pytest.raises(IntrospectError) as caught:
                    make()
                assert "\n" not in str(caught.value), record
                assert "pydantic" not in str(caught.value), record


def test_a_number_where_an_organism_is_wanted_is_told_apart() -> None:
    from introspect.subjects import native_scenarios

    with pytest.raises(ConfigError, match=r"native_scenarios\('shared', 5\), got 5"):
        native_scenarios(5)
