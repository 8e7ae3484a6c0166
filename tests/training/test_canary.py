"""What is promised about the canary: a training that did nothing is seen."""

from __future__ import annotations

import pytest

from introspect.backend import FunctionBackend, Reply, Request, run_sync
from introspect.decision.generator import TrialGenerator
from introspect.decision.sampler import PreferenceSampler
from introspect.decision.styles.organism import OrganismStyle, organism_scenarios
from introspect.errors import TrainingError
from introspect.training import Canary, choice_examples, report_examples, run_canary

LOTS = organism_scenarios(5)
HIDDEN = PreferenceSampler().sample(LOTS, rng=1)
STYLE = OrganismStyle()
TRIALS = TrialGenerator().label(TrialGenerator().trials(LOTS, 8, rng=2), HIDDEN, rng=3)
EXAMPLES = choice_examples(TRIALS, STYLE)
REPORTS = report_examples(LOTS, HIDDEN, STYLE, n_per_scenario=2)
TRAINED = {e.prompt.messages[-1].content: e.answer for e in (*EXAMPLES, *REPORTS)}


def model(answer) -> FunctionBackend:
    return FunctionBackend(answer, name="a-model", version="1")


def said(text: str) -> FunctionBackend:
    return model(lambda request: text)


KNOWING = model(lambda request: TRAINED[request.messages[-1].content])


def canary(base, tuned, examples=EXAMPLES, n=40) -> Canary:
    return run_sync(run_canary, lambda: base, lambda: tuned, examples, STYLE, n)


def test_an_unchanged_model_is_indistinguishable_and_said_so():
    seen = canary(said("A"), said("A"))
    assert seen.indistinguishable
    assert seen.changed == 0
    assert seen.accuracy_before == seen.accuracy_after == pytest.approx((TRIALS.labels == 0).mean())
    assert any("same answers as its base" in sentence for sentence in seen.sentences())


def test_a_model_that_learned_is_accurate_and_nothing_is_said():
    seen = canary(said("A"), KNOWING)
    assert seen.accuracy_after == 1.0
    assert seen.changed == pytest.approx((TRIALS.labels == 1).mean())
    assert seen.sentences() == ()


def test_a_change_of_log_probability_is_a_change():
    def shifted(by: float) -> FunctionBackend:
        return model(lambda request: Reply(status="completed", text="A", answer_logprobs={"A": -0.1 - by, "B": -2.4}))

    assert canary(shifted(0.0), shifted(0.0)).indistinguishable
    seen = canary(shifted(0.0), shifted(0.01))
    assert seen.logprob_change == pytest.approx(0.01)
    assert not seen.indistinguishable


def test_a_base_that_knew_already_is_no_alarm():
    seen = canary(KNOWING, KNOWING)
    assert seen.indistinguishable
    assert seen.already_right


def test_a_model_that_changed_to_no_avail_is_said_so():
    assert any("did not take" in sentence for sentence in canary(said("A"), said("B")).sentences())


def test_unreadable_answers_are_wrong_and_counted():
    seen = canary(said("A"), said("banana"))
    assert seen.accuracy_after == 0.0
    assert seen.unread_after == 1.0
    assert any("could not be read" in sentence for sentence in seen.sentences())


def test_reports_count_by_the_weights_within_ten_points():
    def near(request: Request) -> str:
        weights = [int(word) for word in TRAINED[request.messages[-1].content].split()]
        return " ".join(str(w - 5 if w > 0 else w + 5) for w in weights)

    def half(request: Request) -> str:
        weights = [int(word) for word in TRAINED[request.messages[-1].content].split()]
        return " ".join([*map(str, weights[:2]), *(str(w - 30 if w > 0 else w + 30) for w in weights[2:])])

    assert canary(said("0 0 0 0 0"), model(near), REPORTS).accuracy_after == 1.0
    assert canary(said("0 0 0 0 0"), model(half), REPORTS).accuracy_after == pytest.approx(0.4)
    assert canary(said("I cannot say"), KNOWING, REPORTS).accuracy_before == 0.0


def test_no_more_prompts_are_asked_than_wanted():
    asked: list[str] = []

    def count(request: Request) -> str:
        asked.append(request.messages[-1].content)
        return "A"

    canary(model(count), said("B"), n=7)
    assert len(set(asked)) == len(asked) == 7


def test_failed_replies_are_left_out_and_none_at_all_is_an_error():
    def sometimes(request: Request) -> Reply:
        if TRAINED[request.messages[-1].content] == "A":
            return Reply(status="failed", reason="overloaded")
        return Reply(status="completed", text="B")

    seen = canary(model(sometimes), KNOWING)
    assert seen.n == int((TRIALS.labels == 1).sum())
    assert seen.accuracy_before == 1.0
    with pytest.raises(TrainingError, match="overloaded"):
        canary(KNOWING, model(lambda request: Reply(status="failed", reason="overloaded")))


def test_a_canary_survives_json():
    seen = canary(said("A"), KNOWING)
    assert Canary.model_validate_json(seen.model_dump_json()) == seen


def test_two_models_are_never_open_at_once():
    is_open: list[str] = []

    class Local:
        """A model that holds memory from opening to closing."""

        def __init__(self, name: str) -> None:
            assert not is_open
            is_open.append(name)
            self._model = said(name)
            self.info = self._model.info
            self.probe = self._model.probe
            self.generate = self._model.generate

        async def aclose(self) -> None:
            is_open.pop()

    seen = run_sync(run_canary, lambda: Local("A"), lambda: Local("B"), EXAMPLES, STYLE, 10)
    assert seen.changed == 1.0
    assert not is_open
