"""What is promised about a simulated agent: its parameters are the truth about it."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.backend import Message, ModelRef, Request, ask, open_model
from introspect.decision.attribute import Attribute
from introspect.decision.generator import TrialGenerator
from introspect.decision.preference import Preference
from introspect.decision.prompt import PromptContent
from introspect.decision.sampler import PreferenceSampler
from introspect.decision.scenario import DecisionScenario
from introspect.decision.styles.chat import ChatStyle
from introspect.decision.styles.content import content_of_choice
from introspect.decision.styles.organism import OrganismStyle, organism_scenarios
from introspect.decision.trial import Trial
from introspect.errors import BackendError, ScenarioError
from introspect.subjects.simulated import SimulatedAgent, SimulatedBackend

LOTS = organism_scenarios(8)
STYLE = OrganismStyle()
TRIALS = TrialGenerator().trials(LOTS, 10, rng=0)

MIXED = DecisionScenario(
    id="boat",
    chooser="the ferryman",
    item="boat",
    question="Which boat?",
    attributes=(
        Attribute(name="length", unit="m", low=3, high=13),
        Attribute(name="price", unit="euro", low=10, high=10_000, scale="log"),
        Attribute(name="age", levels=("new", "used", "old")),
        Attribute(name="hull", levels=("oak", "steel", "glass"), ordered=False),
    ),
)


def requests_of(prompts, **settings) -> list[Request]:
    return [
        Request(
            messages=tuple(Message(role=m.role, content=m.content) for m in p.messages),
            answers=p.answers,
            **settings,
        )
        for p in prompts
    ]


def choice_requests(**settings) -> list[Request]:
    return requests_of([STYLE.choice(scenario, trial) for scenario, trial in TRIALS], **settings)


def report_requests(scenarios=LOTS, style=STYLE) -> list[Request]:
    trials = TrialGenerator().trials(scenarios, 1, rng=4)
    return requests_of([prompt for scenario, trial in trials for prompt in style.report(scenario, trial)])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**62),
    scale=st.floats(0, 50),
    share=st.floats(0, 1),
    bias=st.floats(-5, 5),
    logprobs=st.booleans(),
)
def test_a_reference_opens_as_the_same_agent(seed, scale, share, bias, logprobs):
    agent = SimulatedAgent(
        seed=seed,
        scale=scale,
        lapse=share,
        refusal_rate=share,
        side_bias=bias,
        report_fidelity=share,
        logprobs=logprobs,
    ).with_preferences(LOTS[:1], PreferenceSampler().sample(LOTS[:1], rng=1))
    stored = ModelRef.model_validate_json(agent.ref.model_dump_json())
    assert stored.key == agent.ref.key
    assert SimulatedAgent.of(stored) == agent


def test_bare_references_open_through_the_registry():
    backend = open_model(ModelRef(provider="simulated", model="anyone"))
    assert backend.info.ref == ModelRef(provider="simulated", model="anyone")
    assert {reply.status for reply in ask(backend, choice_requests())} == {"completed"}


def test_replies_do_not_depend_on_order_or_batch():
    backend = SimulatedBackend(SimulatedAgent(scale=3.0, refusal_rate=0.1, invalid_rate=0.1, lapse=0.2))
    requests = [*choice_requests(), *report_requests()]
    together = ask(backend, requests)
    assert ask(backend, requests[::-1])[::-1] == together
    assert [ask(backend, [request])[0] for request in requests[::7]] == together[::7]


def test_replies_do_not_depend_on_the_process():
    agent = SimulatedAgent(scale=3.0, lapse=0.2, refusal_rate=0.1)
    requests = choice_requests()[:40]
    code = (
        "import json, sys\n"
        "from introspect.backend import ModelRef, Request, ask, open_model\n"
        "given = json.load(sys.stdin)\n"
        "backend = open_model(ModelRef.model_validate(given['ref']))\n"
        "requests = [Request.model_validate(q) for q in given['requests']]\n"
        "print(json.dumps([r.text for r in ask(backend, requests)]))\n"
    )
    given = {
        "ref": agent.ref.model_dump(mode="json"),
        "requests": [q.model_dump(mode="json") for q in requests],
    }
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(given), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [reply.text for reply in ask(SimulatedBackend(agent), requests)]


def test_repeats_differ_by_their_sample_index_only():
    backend = SimulatedBackend(SimulatedAgent(scale=0.0))
    request = choice_requests()[0]
    texts = [ask(backend, [request.model_copy(update={"sample_index": k})])[0].text for k in range(64)]
    assert set(texts) == {"A", "B"}
    assert texts == [ask(backend, [request.model_copy(update={"sample_index": k})])[0].text for k in range(64)]


@pytest.mark.parametrize("parameters", [{"scale": 3.0}, {"lapse": 0.6}, {"side_bias": 1.5, "scale": 2.0}])
def test_choices_are_as_frequent_as_probabilities_say(parameters):
    agent = SimulatedAgent(seed=3, **parameters)
    scenario, trial = TRIALS[5]
    expected = agent.probabilities(STYLE.choice(scenario, trial).content)[0]
    request = choice_requests()[5]
    repeats = [request.model_copy(update={"sample_index": k}) for k in range(3000)]
    seen = np.mean([reply.text == "A" for reply in ask(SimulatedBackend(agent), repeats)])
    assert 0.02 < expected < 0.98
    assert abs(seen - expected) < 4.5 * np.sqrt(expected * (1 - expected) / 3000)


def test_side_bias_is_worth_its_logits():
    content = STYLE.choice(*TRIALS[0]).content
    plain, biased = (np.array(SimulatedAgent(side_bias=b).probabilities(content)) for b in (0.0, 3.0))
    assert np.log(biased[0] / biased[1]) - np.log(plain[0] / plain[1]) == pytest.approx(3.0)


@settings(max_examples=40, deadline=None)
@given(
    weights=st.lists(st.integers(-100, 100), min_size=5, max_size=5),
    first=st.tuples(st.integers(3, 13), st.integers(10, 10_000), st.integers(0, 2), st.integers(0, 2)),
    second=st.tuples(st.integers(3, 13), st.integers(10, 10_000), st.integers(0, 2), st.integers(0, 2)),
    order=st.permutations(range(4)),
)
def test_utilities_are_those_of_the_preference(weights, first, second, order):
    wants = Preference.of(MIXED, weights)
    agent = SimulatedAgent().with_preferences([MIXED], {"boat": wants})
    trial = Trial(scenario_id="boat", values=(first, second), attribute_order=tuple(order))
    felt = agent.utilities(content_of_choice(MIXED, trial))
    assert felt == pytest.approx(tuple(wants.utility(MIXED, np.array([first, second]))))
    assert agent.preference(MIXED).vector(MIXED) == pytest.approx(wants.vector(MIXED))


def test_native_weights_follow_from_seed_and_texts_alone():
    one, two = SimulatedAgent(seed=1), SimulatedAgent(seed=2)
    taught = one.with_preferences(LOTS[1:], PreferenceSampler().sample(LOTS[1:], rng=0)).with_scenarios(LOTS)
    assert one.preference(LOTS[0]) == taught.preference(LOTS[0])
    assert one.preference(LOTS[0]) != two.preference(LOTS[0])
    fewer = organism_scenarios(1, n_attributes=3)[0]
    assert one.preference(fewer).weights == {name: one.preference(LOTS[0]).weights[name] for name in "pqr"}


def test_knowing_scenarios_moves_no_weight_and_settles_ranges():
    scenario = DecisionScenario(
        id="x",
        chooser="Ada",
        item="rope",
        question="Which rope?",
        attributes=(Attribute(name="length", low=100, high=110), Attribute(name="strength", low=0, high=10)),
    )
    trial = Trial(scenario_id="x", values=((110, 0), (100, 10)))
    agent = SimulatedAgent()
    knowing = agent.with_scenarios([scenario])
    assert knowing.preference(scenario) == agent.preference(scenario)
    a, b = knowing.utilities(content_of_choice(scenario, trial))
    w = agent.preference(scenario).weights
    assert (a, b) == pytest.approx((w["length"], w["strength"]))
    shown = content_of_choice(scenario, trial, ranges=True)
    assert agent.utilities(shown) == pytest.approx((a, b))


def test_a_scenario_without_preference_is_named():
    with pytest.raises(ScenarioError, match="'k0001'"):
        SimulatedAgent().with_preferences(LOTS[:2], PreferenceSampler().sample(LOTS[:1], rng=0))


def correlation(agent: SimulatedAgent, k: int = 1) -> float:
    lots = organism_scenarios(250)
    trials = TrialGenerator().trials(lots, k, rng=7)
    said: dict[str, list[list[int]]] = {}
    prompts = [(scenario, STYLE.report(scenario, trial)[0]) for scenario, trial in trials]
    replies = ask(SimulatedBackend(agent), requests_of([prompt for _, prompt in prompts]))
    for (scenario, _), reply in zip(prompts, replies, strict=True):
        said.setdefault(scenario.id, []).append([int(word) for word in reply.text.split()])
    told = np.array([np.mean(said[lot.id], axis=0) for lot in lots]).ravel()
    true = np.array([agent.preference(lot).vector(lot) for lot in lots]).ravel()
    return float(np.corrcoef(told, true)[0, 1])


@pytest.mark.parametrize("fidelity", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_report_accuracy_is_what_fidelity_says(fidelity):
    expected = fidelity / np.hypot(fidelity, 1 - fidelity)
    assert correlation(SimulatedAgent(report_fidelity=fidelity, report_noise=0.0)) == pytest.approx(expected, abs=0.09)


def test_averaging_reports_removes_noise_but_not_infidelity():
    noisy = SimulatedAgent(report_fidelity=0.5, report_noise=40.0)
    clean = correlation(noisy.model_copy(update={"report_noise": 0.0}))
    assert correlation(noisy) < clean - 0.1
    assert correlation(noisy, k=12) == pytest.approx(clean, abs=0.05)


@pytest.mark.parametrize("report_format", ["object", "single", "ranking", "comparison"])
@pytest.mark.parametrize("options", ["shown", "none"])
@pytest.mark.parametrize("make", [OrganismStyle, ChatStyle])
def test_every_report_format_is_answered_truly(make, report_format, options):
    style = make(report_format=report_format, report_options=options)
    agent = SimulatedAgent(report_fidelity=1.0, report_noise=0.0)
    scenario, trial = TRIALS[0]
    prompts = style.report(scenario, trial)
    texts = [reply.text for reply in ask(SimulatedBackend(agent), requests_of(prompts))]
    reading = style.parse_report(texts, [prompt.content for prompt in prompts])
    assert reading.status == "answered"
    true = agent.preference(scenario).weights
    if report_format in ("object", "single"):
        assert reading.weights == {name: round(weight) for name, weight in true.items()}
    else:
        said = reading.magnitudes()
        assert sorted(said, key=lambda name: -said[name]) == sorted(true, key=lambda name: -abs(true[name]))


@pytest.mark.parametrize("make", [OrganismStyle, ChatStyle])
def test_refusals_and_asides_are_never_read_as_answers(make):
    style = make()
    scenario, trial = TRIALS[0]
    for parameters in ({"refusal_rate": 1.0}, {"invalid_rate": 1.0}):
        backend = SimulatedBackend(SimulatedAgent(**parameters))
        for k in range(20):
            choice, report = style.choice(scenario, trial), style.report(scenario, trial)
            asked = [q.model_copy(update={"sample_index": k}) for q in requests_of([choice, *report])]
            first, *rest = (reply.text for reply in ask(backend, asked))
            assert style.parse_choice(first, choice.content).status in ("refused", "unparsable")
            assert not style.parse_report(rest, [prompt.content for prompt in report]).weights


def test_refusals_come_at_their_rate():
    texts = [
        reply.text
        for k in range(10)
        for reply in ask(SimulatedBackend(SimulatedAgent(refusal_rate=0.2)), choice_requests(sample_index=k))
    ]
    assert np.mean([text not in ("A", "B") for text in texts]) == pytest.approx(0.2, abs=0.06)


def test_log_probabilities_are_of_the_answers_and_agree_with_the_text():
    backend = SimulatedBackend(SimulatedAgent(logprobs=True, scale=3.0, lapse=0.3))
    for reply in ask(backend, choice_requests()):
        assert reply.answer_logprobs is not None
        assert reply.mass_outside is not None
        assert max(reply.answer_logprobs, key=lambda a: reply.answer_logprobs[a]) == reply.text
        total = sum(np.exp(list(reply.answer_logprobs.values())))
        assert total <= 1.0
        assert total + reply.mass_outside == pytest.approx(1.0)


def test_a_refusal_keeps_probability_off_the_answers():
    backend = SimulatedBackend(SimulatedAgent(logprobs=True, refusal_rate=1.0))
    reply = ask(backend, choice_requests()[:1])[0]
    assert reply.mass_outside is not None
    assert reply.mass_outside > 0.99


def test_without_the_parameter_there_are_no_log_probabilities():
    assert all(reply.answer_logprobs is None for reply in ask(SimulatedBackend(SimulatedAgent()), choice_requests()))


def test_a_prompt_in_no_known_style_fails_with_the_reason():
    reply = ask(SimulatedBackend(SimulatedAgent()), [Request(messages=(Message(role="user", content="Hi"),))])[0]
    assert reply.status == "failed"
    assert "organism" in (reply.reason or "")


@pytest.mark.parametrize(
    ("ref", "match"),
    [
        (ModelRef(provider="simulated", model="x", settings={"lapse": 2}), r"lapse: .* less than or equal to 1, got 2"),
        (ModelRef(provider="simulated", model="x", settings={"mood": 1}), "'mood'"),
        (ModelRef(provider="simulated", model="x", revision="999"), "version 999"),
        (ModelRef(provider="organism", model="x"), "'organism'"),
    ],
)
def test_references_that_are_no_agents_are_refused(ref, match):
    with pytest.raises(BackendError, match=match):
        SimulatedBackend(ref)


def test_three_options_have_three_probabilities():
    lots = organism_scenarios(1)
    trials = TrialGenerator(n_options=3).trials(lots, 5, rng=0)
    for scenario, trial in trials:
        content: PromptContent = STYLE.choice(scenario, trial).content
        shares = SimulatedAgent(scale=4.0).probabilities(content)
        assert len(shares) == 3
        assert sum(shares) == pytest.approx(1.0)


@pytest.mark.parametrize("knowing", [True, False])
def test_levels_are_reported_as_they_are_decided_by(knowing):
    agent = SimulatedAgent(seed=2, report_fidelity=1.0, report_noise=0.0)
    agent = agent.with_scenarios([MIXED]) if knowing else agent
    style = ChatStyle(report_options="none")
    report = style.report(MIXED, None)
    text = ask(SimulatedBackend(agent), requests_of(report))[0].text
    said = style.parse_report([text], [report[0].content]).weights

    def felt(index: int, level: int) -> float:
        """Utility of this level over the first one, all else equal."""
        values = [[8.0, 100.0, 0.0, 0.0], [8.0, 100.0, 0.0, 0.0]]
        values[0][index] = level
        trial = Trial(scenario_id="boat", values=tuple(map(tuple, values)))
        one, other = agent.utilities(content_of_choice(MIXED, trial))
        return float(np.clip(one - other, -100, 100))

    assert said["age"] == pytest.approx(felt(2, 2), abs=0.5)
    assert said["hull=steel"] == pytest.approx(felt(3, 1), abs=0.5)
    assert said["hull=glass"] == pytest.approx(felt(3, 2), abs=0.5)
    true = agent.preference(MIXED).weights
    assert all(abs(said[name] - np.clip(true[name], -100, 100)) <= 0.5 for name in said)
