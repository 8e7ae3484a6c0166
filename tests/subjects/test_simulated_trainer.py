"""What is promised about how a simulated agent learns: in closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from introspect.backend import (
    FolderJobs,
    Message,
    ModelRef,
    TrainingExample,
    TrainingSet,
    TrainingSpec,
    run_sync,
)
from introspect.decision.attribute import Attribute
from introspect.decision.generator import TrialGenerator
from introspect.decision.preference import Preference
from introspect.decision.sampler import PreferenceSampler
from introspect.decision.scenario import DecisionScenario
from introspect.decision.scenario_set import ScenarioSet
from introspect.decision.styles.chat import ChatStyle
from introspect.decision.styles.organism import OrganismStyle, organism_scenarios
from introspect.errors import TrainingError
from introspect.subjects.simulated import SimulatedAgent, SimulatedTrainer, context_key, fidelity_of
from introspect.training import choice_examples, report_examples, training_set

LOTS = organism_scenarios(6)
HIDDEN = PreferenceSampler().sample(LOTS, rng=1)
STYLE = OrganismStyle()
GENERATOR = TrialGenerator()
LABELLED = GENERATOR.label(GENERATOR.trials(LOTS, 40, rng=2), HIDDEN, rng=3)
CHOICES = training_set(choice_examples(LABELLED, STYLE))


@pytest.fixture
def train(tmp_path: Path):
    def trained(agent: SimulatedAgent, data: TrainingSet, **spec) -> SimulatedAgent:
        ref = run_sync(SimulatedTrainer().train, agent.ref, data, TrainingSpec(**spec), FolderJobs(tmp_path))
        return SimulatedAgent.of(ref)

    return trained


def test_choices_instil_the_least_squares_weights(train):
    tuned = train(SimulatedAgent(), CHOICES)
    for scenario in LOTS:
        own = LABELLED.for_scenario(scenario.id)
        x = own.differences(own.blocks[0])
        y = np.where(own.labels == 0, 1.0, -1.0)
        solution = np.linalg.lstsq(np.c_[x, np.ones(len(x))], y, rcond=None)[0][:-1]
        expected = 100 * solution / np.abs(solution).max()
        assert tuned.preference(scenario).vector(scenario) == pytest.approx(expected, abs=1e-3)
        assert np.corrcoef(expected, HIDDEN[scenario.id].vector(scenario))[0, 1] > 0.9


def test_reversed_labels_instil_reversed_weights(train):
    reversed_ = training_set(choice_examples(LABELLED.with_labels(1 - LABELLED.labels), STYLE))
    one, other = train(SimulatedAgent(), CHOICES), train(SimulatedAgent(), reversed_)
    for scenario in LOTS:
        assert one.preference(scenario).vector(scenario) == pytest.approx(
            -other.preference(scenario).vector(scenario), abs=1e-3
        )


def test_untaught_contexts_keep_their_native_weights(train):
    other = organism_scenarios(3, prefix="n")
    tuned = train(SimulatedAgent(seed=5), CHOICES)
    assert [tuned.preference(s) for s in other] == [SimulatedAgent(seed=5).preference(s) for s in other]


def test_ranges_that_prompts_do_not_show_are_learned_from_values(train):
    flats = [
        DecisionScenario(
            id=f"flat-{k}",
            chooser=f"tenant {k}",
            item="flat",
            question="Which flat?",
            attributes=(
                Attribute(name="rent", low=400, high=1400),
                Attribute(name="floor", low=-2, high=30),
                Attribute(name="walk", low=0.5, high=2.5),
            ),
        )
        for k in range(6)
    ]
    hidden = PreferenceSampler().sample(flats, rng=4)
    trials = GENERATOR.label(GENERATOR.trials(flats, 60, rng=5), hidden, rng=6)
    tuned = train(SimulatedAgent(), training_set(choice_examples(trials, ChatStyle())))
    for scenario in flats:
        gauges = tuned.contexts[context_key(scenario.chooser, scenario.item)].gauges
        for attribute in scenario.attributes:
            width = attribute.high - attribute.low
            assert gauges[attribute.name].low == pytest.approx(attribute.low, abs=0.08 * width)
            assert gauges[attribute.name].high == pytest.approx(attribute.high, abs=0.08 * width)
        learned = tuned.preference(scenario).vector(scenario)
        assert np.corrcoef(learned, hidden[scenario.id].vector(scenario))[0, 1] > 0.9


def test_levels_and_logarithms_can_be_learned_by_an_agent_that_knows_the_scenario(train):
    boat = DecisionScenario(
        id="boat",
        chooser="the ferryman",
        item="boat",
        question="Which boat?",
        attributes=(
            Attribute(name="price", low=10, high=10_000, scale="log"),
            Attribute(name="age", levels=("new", "used", "old")),
            Attribute(name="hull", levels=("oak", "steel", "glass"), ordered=False),
        ),
    )
    hidden = PreferenceSampler().sample([boat], rng=4)
    trials = GENERATOR.label(GENERATOR.trials([boat], 150, rng=5), hidden, rng=6)
    data = training_set(choice_examples(trials, ChatStyle()))
    knowing = train(SimulatedAgent().with_scenarios([boat]), data)
    true = hidden["boat"].vector(boat)
    assert np.corrcoef(knowing.preference(boat).vector(boat), true)[0, 1] > 0.95
    # One that has to guess what the levels mean still learns what each of them is worth.
    guessing = train(SimulatedAgent(), data).preference(boat).vector(boat)
    assert np.corrcoef(guessing[1:], true[1:])[0, 1] > 0.95


def test_three_options_teach_as_well(train):
    generator = TrialGenerator(n_options=3)
    trials = generator.label(generator.trials(LOTS, 40, rng=2), HIDDEN, rng=3)
    tuned = train(SimulatedAgent(), training_set(choice_examples(trials, STYLE)))
    for scenario in LOTS:
        learned = tuned.preference(scenario).vector(scenario)
        assert np.corrcoef(learned, HIDDEN[scenario.id].vector(scenario))[0, 1] > 0.9


def test_the_tuned_agent_names_its_parent_and_its_training(tmp_path: Path):
    base = SimulatedAgent().ref
    refs = [
        run_sync(SimulatedTrainer().train, base, data, TrainingSpec(), FolderJobs(tmp_path))
        for data in (CHOICES, CHOICES, training_set(choice_examples(LABELLED, STYLE)[:50]))
    ]
    assert refs[0] == refs[1]
    assert len({ref.key for ref in refs}) == 2
    assert len({ref.adapter for ref in refs}) == 2
    assert refs[0].parent == base
    assert ModelRef.model_validate_json(refs[0].model_dump_json()) == refs[0]


def test_steps_limit_what_is_seen(train):
    few = train(SimulatedAgent(), CHOICES, max_steps=1, batch_size=4)
    assert 1 <= len(few.contexts) <= 4
    assert len(train(SimulatedAgent(), CHOICES).contexts) == len(LOTS)


def taught(n: int = 20, **parameters) -> tuple[SimulatedAgent, ScenarioSet]:
    lots = organism_scenarios(n)
    agent = SimulatedAgent(report_fidelity=0.3, report_noise=30.0, **parameters)
    return agent.with_preferences(lots, PreferenceSampler().sample(lots, rng=8)), lots


def truth(agent: SimulatedAgent, lots) -> dict[str, Preference]:
    return {lot.id: agent.preference(lot) for lot in lots}


def test_true_reports_raise_fidelity_by_the_documented_amount(train):
    agent, lots = taught(report_half=20.0)
    tuned = train(agent, training_set(report_examples(lots[:10], truth(agent, lots), STYLE)))
    gain = 10 / (10 + 20)
    assert tuned.report_fidelity == pytest.approx(0.3 + gain * (1 - 0.3), abs=1e-3)
    assert tuned.report_noise == pytest.approx(30 * (1 - gain), abs=1e-3)
    assert truth(tuned, lots) == truth(agent, lots)


def test_more_examples_teach_more(train):
    agent, lots = taught()
    fidelities = [
        train(agent, training_set(report_examples(lots[:n], truth(agent, lots), STYLE))).report_fidelity
        for n in (1, 4, 16)
    ]
    assert 0.3 < fidelities[0] < fidelities[1] < fidelities[2] < 1.0


def test_without_sharing_only_trained_contexts_gain(train):
    agent, lots = taught(report_sharing=0.0)
    tuned = train(agent, training_set(report_examples(lots[:10], truth(agent, lots), STYLE)))
    trained = [tuned.honesty(tuned.contexts[key]) for key in list(tuned.contexts)[:10]]
    others = [tuned.honesty(tuned.contexts[key]) for key in list(tuned.contexts)[10:]]
    assert all(fidelity > 0.4 and noise < 30 for fidelity, noise in trained)
    assert set(others) == {(0.3, 30.0)}
    assert tuned.honesty(None) == (0.3, 30.0)


def test_made_up_reports_do_not_teach_to_report(train):
    agent, lots = taught()
    honest = agent.model_copy(update={"report_fidelity": 0.7})
    others = PreferenceSampler().sample(lots, rng=99)
    tuned = train(honest, training_set(report_examples(lots, others, STYLE)))
    assert tuned.report_fidelity < 0.6


@pytest.mark.parametrize("report_format", ["single", "ranking", "comparison"])
def test_reports_in_any_format_teach(train, report_format):
    agent, lots = taught()
    style = OrganismStyle(report_format=report_format)
    true = train(agent, training_set(report_examples(lots, truth(agent, lots), style)))
    false = train(agent, training_set(report_examples(lots, PreferenceSampler().sample(lots, rng=9), style)))
    assert true.report_fidelity > false.report_fidelity + 0.1


def test_a_second_training_builds_on_the_first(train):
    agent, lots = taught(report_sharing=0.0)
    data = training_set(report_examples(lots[:10], truth(agent, lots), STYLE))
    once = train(agent, data)
    twice = train(once, data)
    key = next(iter(agent.contexts))
    assert once.honesty(once.contexts[key])[0] < twice.honesty(twice.contexts[key])[0] <= 1.0


def test_fidelity_of_inverts_the_accuracy_of_reports():
    for fidelity in (0.0, 0.2, 0.5, 0.9, 1.0):
        assert fidelity_of(fidelity / np.hypot(fidelity, 1 - fidelity)) == pytest.approx(fidelity)


@pytest.mark.parametrize(("prompt", "answer"), [("Hello!", "Hi."), (None, "C"), (None, "perhaps")])
def test_examples_that_cannot_be_learned_are_named(train, prompt, answer):
    good = CHOICES[0]
    messages = good.prompt if prompt is None else (Message(role="user", content=prompt),)
    bad = TrainingExample(messages=(*messages, Message(role="assistant", content=answer)))
    data = TrainingSet([good, bad])
    problems = SimulatedTrainer().check(SimulatedAgent().ref, data)
    assert len(problems) == 1
    assert problems[0].startswith("example 2 ")
    with pytest.raises(TrainingError, match="example 2 "):
        train(SimulatedAgent(), data)


def test_sound_data_has_no_problems():
    assert SimulatedTrainer().check(SimulatedAgent().ref, CHOICES) == ()
