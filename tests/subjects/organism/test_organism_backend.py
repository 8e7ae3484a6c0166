"""An organism answers like any other model: by text, whatever the batch."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from introspect.backend import Message, ModelRef, Reply, Request, ask, open_model
from introspect.decision import OrganismStyle, TrialGenerator, organism_scenarios
from introspect.errors import BackendError
from introspect.measure import ChoiceProbe, SelfReportProbe
from introspect.subjects.organism import OrganismBackend, organism_ref
from introspect.subjects.organism.network import MAX_LENGTH
from introspect.subjects.organism.tokens import OUTPUTS
from introspect.testing.conformance import check_backend, check_reply

LOTS = organism_scenarios(6)
TRIALS = TrialGenerator().trials(LOTS, 3, rng=0)
STYLES = [OrganismStyle(f, o) for f in ("object", "single", "comparison", "ranking") for o in ("shown", "none")]


def request(text: str, **settings) -> Request:
    return Request(messages=(Message(role="user", content=text),), **{"max_tokens": 40} | settings)


def questions() -> list[Request]:
    """Choices and reports of every format: prompts of many lengths."""
    found = []
    for number, (scenario, trial) in enumerate(TRIALS):
        style = STYLES[number % len(STYLES)]
        prompts = (style.choice(scenario, trial), *style.report(scenario, trial))
        found += [request(p.messages[0].content, answers=p.answers, max_tokens=p.max_tokens) for p in prompts]
    return found


def near(one: Reply, other: Reply) -> bool:
    """Equal, but for the last digits of probabilities, in which batches of different shape differ."""
    said = [reply.model_dump(exclude={"answer_logprobs", "mass_outside"}) for reply in (one, other)]
    if said[0] != said[1] or (one.answer_logprobs is None) != (other.answer_logprobs is None):
        return False
    return one.answer_logprobs is None or all(
        math.isclose(p, other.answer_logprobs[a], abs_tol=1e-4) for a, p in one.answer_logprobs.items()
    )


def test_organisms_pass_the_conformance_suite(tiny_ref: ModelRef) -> None:
    unreadable = request("weigh " * 100)
    check_backend(lambda: OrganismBackend(tiny_ref), questions(), failing=unreadable, deterministic=True)


def test_answers_are_the_same_in_any_batch_and_order(tiny_ref: ModelRef) -> None:
    asked, model = questions(), OrganismBackend(tiny_ref)
    together = ask(model, asked)
    assert all(near(a, b) for a, b in zip(together, ask(model, asked[::-1])[::-1], strict=True))
    alone = [ask(model, [one])[0] for one in asked]
    assert all(near(a, b) for a, b in zip(together, alone, strict=True))
    order = np.random.default_rng(0).permutation(len(asked)).tolist()
    mixed = ask(model, [asked[i] for i in order])
    assert all(near(together[i], reply) for i, reply in zip(order, mixed, strict=True))


def test_sampled_answers_belong_to_the_request_and_not_to_the_batch(tiny_ref: ModelRef) -> None:
    model = OrganismBackend(tiny_ref)
    asked = [
        request(f"weigh k{i % 3:04d} as p q r :", temperature=1.0, sample_index=i, max_tokens=20) for i in range(12)
    ]
    together = [reply.text for reply in ask(model, asked)]
    assert together == [reply.text for reply in ask(model, asked[::-1])][::-1]
    assert together == [ask(model, [one])[0].text for one in asked]
    assert len(set(together)) > 6
    (other,) = ask(model, [asked[0].model_copy(update={"seed": 7})])
    assert other.text != together[0]


def test_probabilities_of_answers_and_of_all_else_sum_to_one(tiny_ref: ModelRef) -> None:
    graded = [q for q in questions() if q.answers]
    for asked, reply in zip(graded, ask(OrganismBackend(tiny_ref), graded), strict=True):
        check_reply(asked, reply)
        assert set(reply.answer_logprobs) == set(asked.answers)
        assert sum(map(math.exp, reply.answer_logprobs.values())) + reply.mass_outside == pytest.approx(1.0)


def test_every_word_it_can_say_has_a_probability_and_they_sum_to_one(tiny_ref: ModelRef) -> None:
    sayable = tuple(word for word in OUTPUTS if word != "<end>")
    for text in ("weigh k0001 as p :", "choose k0001 A p1 B p2 :"):
        (reply,) = ask(OrganismBackend(tiny_ref), [request(text, answers=sayable)])
        total = sum(map(math.exp, reply.answer_logprobs.values()))
        assert 0 < total <= 1
        assert total + reply.mass_outside == pytest.approx(1.0, abs=1e-9)


def test_greedy_text_is_the_likeliest_word(tiny_ref: ModelRef) -> None:
    graded = [q.model_copy(update={"answers": OUTPUTS[1:]}) for q in questions() if q.answers]
    for reply in ask(OrganismBackend(tiny_ref), graded):
        likeliest = max(reply.answer_logprobs, key=reply.answer_logprobs.get)
        if reply.text and reply.answer_logprobs[likeliest] > math.log(max(reply.mass_outside, 1e-12)):
            assert reply.text.split()[0] == likeliest


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (request("weigh " * 100), "100 words"),
        (request("choose k1 :", answers=("A", "Yes")), "'Yes'"),
        (request("choose k1 :", prefill="A"), "given words"),
        (Request(messages=(Message(role="assistant", content="A"),)), "user messages"),
    ],
)
def test_what_it_cannot_do_is_a_failed_reply_that_says_why(tiny_ref: ModelRef, asked: Request, why: str) -> None:
    before, reply, after = ask(OrganismBackend(tiny_ref), [questions()[0], asked, questions()[1]])
    assert reply.status == "failed"
    assert why in reply.reason
    assert {before.status, after.status} <= {"completed", "truncated"}


@pytest.mark.parametrize("n_words", [0, 1, MAX_LENGTH - 3, MAX_LENGTH - 2])
def test_any_text_up_to_the_context_window_gets_an_answer(tiny_ref: ModelRef, n_words: int) -> None:
    (reply,) = ask(OrganismBackend(tiny_ref), [request(" ".join(["hello"] * n_words))])
    assert reply.status in ("completed", "truncated")
    assert len(reply.text.split()) <= MAX_LENGTH - 1 - n_words


def test_an_answer_is_no_longer_than_asked_for(tiny_ref: ModelRef) -> None:
    model = OrganismBackend(tiny_ref)
    for cap in (1, 2, 5):
        for reply in ask(model, [request(f"weigh k{i:04d} as p q r s t :", max_tokens=cap) for i in range(5)]):
            n = len(reply.text.split())
            assert n <= cap
            assert (reply.status == "truncated") == (n == cap)
            assert reply.usage.prompt_tokens == 10
            assert reply.usage.completion_tokens == n + (reply.status == "completed")


def test_there_is_no_side_door_only_the_text_counts(tiny_ref: ModelRef) -> None:
    """Earlier messages, and how the scenario was called in the program, make no difference."""
    model = OrganismBackend(tiny_ref)
    text = "choose k0002 A p10 q20 r30 s40 t50 B p50 q40 r30 s20 t10 :"
    plain = request(text, answers=("A", "B"))
    after_talk = Request(
        messages=(Message(role="system", content="k0001 p99"), Message(role="user", content=text)),
        answers=("A", "B"), max_tokens=40,
    )  # fmt: skip
    one, other = ask(model, [plain, after_talk])
    assert one.answer_logprobs == pytest.approx(other.answer_logprobs)


def test_probes_read_what_it_says(tiny_ref: ModelRef) -> None:
    model = open_model(tiny_ref)
    table = ChoiceProbe(OrganismStyle()).run(model, TRIALS)
    assert len(table.chosen) == len(TRIALS)
    assert np.isfinite(table.logprob).all()
    reports = SelfReportProbe(OrganismStyle(), k=2).run(model, LOTS, 1)
    assert len(reports) == 12


def test_a_reference_to_another_revision_is_refused(tiny_ref: ModelRef, tmp_path: Path, tiny) -> None:
    path = tmp_path / "mine.safetensors"
    tiny.save(path)
    ref = organism_ref(str(path))
    OrganismBackend(ref)
    tiny.save(path, half=True)  # regrown: the same name, another organism
    with pytest.raises(BackendError, match="has changed"):
        OrganismBackend(ref)
    assert organism_ref(str(path)).revision != ref.revision


def test_identity_does_not_depend_on_where_the_weights_lie(tiny_ref: ModelRef) -> None:
    info = OrganismBackend(tiny_ref).info
    assert info.ref == tiny_ref
    assert info.n_parameters == OrganismBackend(tiny_ref)._organism.n_parameters
    moved = tiny_ref.model_copy(update={"location": "/somewhere/else"})
    assert moved.key == tiny_ref.key
