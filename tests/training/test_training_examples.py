"""What is promised about training examples: the style's prompts, and answers that it reads back."""

from __future__ import annotations

import numpy as np
import pytest

from introspect.decision.generator import TrialGenerator
from introspect.decision.preference import Preference
from introspect.decision.sampler import PreferenceSampler
from introspect.decision.styles.chat import ChatStyle
from introspect.decision.styles.content import trial_of
from introspect.decision.styles.organism import OrganismStyle, organism_scenarios
from introspect.errors import TrainingError
from introspect.training import choice_examples, report_examples, training_set

LOTS = organism_scenarios(5)
HIDDEN = PreferenceSampler().sample(LOTS, rng=1)
TRIALS = TrialGenerator().label(TrialGenerator().trials(LOTS, 6, rng=2), HIDDEN, rng=3)
STYLES = [OrganismStyle(), ChatStyle()]


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.id)
def test_choice_examples_are_the_trials_answered_with_their_labels(style):
    examples = choice_examples(TRIALS, style)
    assert len(examples) == len(TRIALS)
    for example, (scenario, trial) in zip(examples, TRIALS, strict=True):
        content = style.read(example.prompt.messages)
        assert trial_of(scenario, content).values == trial.values
        assert style.parse_choice(example.answer, content).chosen == trial.label
        assert example.scenario_id == scenario.id


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.id)
def test_report_examples_give_whole_weights_of_which_the_largest_is_100(style):
    for example in report_examples(LOTS, HIDDEN, style, rng=4):
        said = style.parse_report([example.answer], [style.read(example.prompt.messages)])
        assert said.status == "answered"
        assert max(abs(weight) for weight in said.weights.values()) == 100
        for name, weight in HIDDEN[example.scenario_id].normalised().weights.items():
            assert abs(said.weights[name] - weight) <= 0.5
            assert said.weights[name] == round(said.weights[name])


def test_the_answer_is_the_last_message_and_the_prompt_the_rest():
    data = training_set(choice_examples(TRIALS, ChatStyle()))
    assert {example.messages[-1].role for example in data} == {"assistant"}
    assert {example.answer for example in data} == {"A", "B"}
    assert all(message.role != "assistant" for example in data for message in example.prompt)


def test_every_report_shows_options_of_its_own():
    examples = report_examples(LOTS, HIDDEN, OrganismStyle(), n_per_scenario=4, rng=4)
    assert len(examples) == 4 * len(LOTS)
    assert len({example.prompt.messages for example in examples}) == len(examples)
    # The published protocol re-used one set of uniform draws for all contexts; here they are independent.
    positions = np.array([example.prompt.content.options for example in examples]).reshape(len(examples), -1)
    assert len(np.unique(positions, axis=0)) == len(examples)


def test_a_context_s_report_examples_do_not_depend_on_the_other_contexts():
    alone = report_examples(LOTS[2:3], HIDDEN, OrganismStyle(), rng=4)
    among = report_examples(LOTS, HIDDEN, OrganismStyle(), rng=4)
    assert alone[0] in among


def test_weights_may_be_plain_mappings_of_any_scale():
    plain = {lot.id: {name: weight / 7 for name, weight in HIDDEN[lot.id].weights.items()} for lot in LOTS}
    style = OrganismStyle()
    assert report_examples(LOTS, plain, style, rng=1) == report_examples(LOTS, HIDDEN, style, rng=1)


def test_one_example_per_question_where_a_report_takes_several():
    style = OrganismStyle(report_format="single")
    assert len(report_examples(LOTS, HIDDEN, style)) == len(LOTS) * 5


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        ({}, "no weights for scenario 'k0000'"),
        ({"k0000": dict.fromkeys("pqrst", 0.0)}, "not all zero"),
        ({"k0000": {**dict.fromkeys("pqrs", 1.0), "t": float("nan")}}, "finite"),
        ({"k0000": {"p": 1.0}}, "predictors p, q, r, s, t"),
        ({"k0000": Preference(scenario_id="k0000", weights={"z": 1.0})}, "given for z"),
    ],
)
def test_unusable_weights_are_refused(weights, match):
    with pytest.raises(TrainingError, match=match):
        report_examples(LOTS[:1], weights, OrganismStyle())


def test_nothing_to_train_on_is_refused():
    with pytest.raises(TrainingError, match="no scenarios"):
        report_examples([], HIDDEN, OrganismStyle())
    with pytest.raises(TrainingError, match="n_per_scenario"):
        report_examples(LOTS, HIDDEN, OrganismStyle(), n_per_scenario=0)
    with pytest.raises(TrainingError, match="no label"):
        choice_examples(TRIALS.with_labels(None), OrganismStyle())


def test_weights_as_measured_are_scaled_to_a_hundred_and_never_beyond():
    """100 * w / w is a bit more than 100 for some w, and more than 100 is refused."""
    awkward = next(w for w in np.linspace(0.01, 3, 999) if 100.0 * w / w > 100.0)
    told = {"k0000": {name: awkward / (k + 1) for k, name in enumerate(LOTS[0].predictors)}}
    (example,) = report_examples(LOTS[:1], told, OrganismStyle())
    assert example.answer.split()[0] == "100"
