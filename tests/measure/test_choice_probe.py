"""Asking a model to choose."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from introspect.backend import FunctionBackend, Reply
from introspect.decision.generator import TrialGenerator
from introspect.decision.labels import label
from introspect.decision.prompt import ChatMessage
from introspect.decision.sampler import PreferenceSampler
from introspect.decision.styles.organism import OrganismStyle, organism_scenarios
from introspect.errors import FatalBackendError, IntrospectError
from introspect.measure import ChoiceModel, ChoiceProbe

STYLE = OrganismStyle()
SCENARIOS = organism_scenarios(4)
PREFERENCES = PreferenceSampler().sample(SCENARIOS, rng=0)
TRIALS = label(TrialGenerator().trials(SCENARIOS, 60, rng=0), PREFERENCES, rng=0)


def chooser(fn=lambda request, utility: "A" if utility[0] > utility[1] else "B"):
    """A model that reads the prompt as any model must, and chooses by the instilled preference."""
    by_chooser = {s.chooser: s for s in SCENARIOS}

    def answer(request):
        content = STYLE.read([ChatMessage(m.role, m.content) for m in request.messages])
        scenario = by_chooser[content.chooser]
        return fn(request, PREFERENCES[scenario.id].utility(scenario, content.options))

    return FunctionBackend(answer, name="chooser", version="1")


def test_a_model_that_follows_the_preference_is_found_to_follow_it():
    table = ChoiceProbe(STYLE).run(chooser(), TRIALS)
    assert table.agreement() == 1.0
    assert table.text[0] in "AB"
    assert table.model == chooser().info.key
    weights = ChoiceModel().fit(table)
    assert weights.model == table.model
    for name in weights.scenario_ids:
        r = np.corrcoef(list(weights.weights(name).values()), list(PREFERENCES[name].weights.values()))[0, 1]
        assert r > 0.95


def test_every_kind_of_silence_is_missing_and_its_text_is_kept():
    answers = {
        0: Reply(status="completed", text="A"),
        1: Reply(status="failed", text="A", reason="503"),
        2: Reply(status="filtered", text="A"),
        3: Reply(status="truncated", text="The lot that"),
        4: Reply(status="truncated", text="B"),
        5: Reply(status="completed", text="hm"),
        6: Reply(status="completed", text=""),
    }
    count = iter(range(99))
    model = FunctionBackend(lambda request: answers[next(count)], name="moody", version="1")
    table = ChoiceProbe(STYLE).run(model, TRIALS.take(np.arange(7)))
    assert table.chosen.tolist() == [0, -1, -1, -1, 1, -1, -1]
    assert table.status.tolist()[:5] == ["answered", "failed", "filtered", "truncated", "answered"]
    assert set(table.status[5:]) <= {"unparsable", "refused"}
    assert table.text == tuple(reply.text for reply in answers.values())


@pytest.mark.parametrize(
    ("logprobs", "outside", "text", "chosen"),
    [
        ({"A": -2.0, "B": -0.2}, 0.05, "A", 1),  # the more probable one, whatever was sampled
        ({"B": -0.2}, None, "A", 1),  # the other lies below the list's floor
        ({"A": -5.0, "B": -6.0}, 0.99, "I would rather not", -1),  # about to refuse: still no choice for A
        ({"A": -5.0, "B": -6.0}, None, "B", 1),  # most of the probability lies elsewhere: the text decides
        ({"A": -0.7, "B": -0.7}, 0.0, "B", 1),  # a tie is not A
        ({"A": -0.7, "B": -0.7}, 0.0, "?", -1),
        ({}, None, "B", 1),
    ],
)
def test_probabilities_decide_only_where_they_are_clear(logprobs, outside, text, chosen):
    reply = Reply(status="completed", text=text, answer_logprobs=logprobs, mass_outside=outside)
    model = FunctionBackend(lambda request: reply, name="graded", version="1")
    table = ChoiceProbe(STYLE).run(model, TRIALS.take(np.arange(1)))
    assert table.chosen.tolist() == [chosen]
    assert [None if np.isnan(v) else v for v in table.logprob[0]] == [logprobs.get("A"), logprobs.get("B")]


def test_log_probabilities_are_asked_for_only_when_wanted():
    seen = []
    model = FunctionBackend(lambda request: seen.append(request) or "A", name="x", version="1")
    ChoiceProbe(STYLE).run(model, TRIALS.take(np.arange(1)))
    ChoiceProbe(STYLE, graded=False, temperature=1.0, thinking=0).run(model, TRIALS.take(np.arange(1)))
    assert [request.answers for request in seen] == [("A", "B"), None]
    assert (seen[1].temperature, seen[1].thinking) == (1.0, 0)


def test_replies_are_told_as_they_arrive():
    told = []
    table = ChoiceProbe(STYLE).run(chooser(), TRIALS.take(np.arange(5)), lambda i, reply: told.append((i, reply.text)))
    assert sorted(told) == list(enumerate(table.text))


def test_the_bar_is_shown_only_when_asked_for(capfd):
    few = TRIALS.take(np.arange(3))
    ChoiceProbe(STYLE).run(chooser(), few)
    assert capfd.readouterr().err == ""
    ChoiceProbe(STYLE).run(chooser(), few, progress=True)
    assert "choices" in capfd.readouterr().err


def test_it_works_inside_a_running_loop_and_has_an_async_twin():
    async def notebook():
        probe, few = ChoiceProbe(STYLE), TRIALS.take(np.arange(4))
        return probe.run(chooser(), few), await probe.arun(chooser(), few)

    plain, twin = asyncio.run(notebook())
    assert plain == twin


def test_an_error_that_dooms_all_calls_is_raised():
    def broke(request):
        raise FatalBackendError("out of credit")

    with pytest.raises(FatalBackendError, match="out of credit"):
        ChoiceProbe(STYLE).run(FunctionBackend(broke, name="broke", version="1"), TRIALS)


def test_trials_that_the_style_cannot_word_are_refused_before_anything_is_asked(make_world):
    asked = []
    model = FunctionBackend(lambda request: asked.append(1) or "A", name="x", version="1")
    with pytest.raises(IntrospectError):
        ChoiceProbe(STYLE).run(model, make_world(n_scenarios=1, n_trials=3)[2])
    assert not asked


def test_three_options_are_asked_and_fitted():
    trials = TrialGenerator(n_options=3).trials(SCENARIOS, 80, rng=1)
    model = chooser(lambda request, utility: "ABC"[int(np.argmax(utility))])
    weights = ChoiceModel().fit(ChoiceProbe(STYLE).run(model, trials))
    truth = list(PREFERENCES["k0000"].weights.values())
    assert np.corrcoef(weights.coef[0], truth)[0, 1] > 0.95
    assert len(weights.intercept[0]) == 2
