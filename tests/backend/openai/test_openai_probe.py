"""What a server is seen to do is relied on, and what it only pretends to do is not."""

from __future__ import annotations

from typing import Any

import pytest
from asking_hosted import one, opened, question
from faulty_server import FaultyServer, completion, error

from introspect.backend import ask, run_sync
from introspect.backend.failures import Failure

LIES = {
    "logprobs": lambda whole: whole["choices"][0].update(logprobs=None),
    "n": lambda whole: whole.update(choices=whole["choices"][:1]),
    "json_schema": lambda whole: None,
    "prefill": lambda whole: None,
    "model_name": lambda whole: None,
}


@pytest.mark.parametrize("feature", LIES)
def test_the_probe_names_what_a_server_answers_200_to_and_ignores(feature: str) -> None:
    def answer(body: dict[str, Any]) -> Any:
        whole = completion(body)
        LIES[feature](whole)
        return whole

    with FaultyServer(answer=answer) as server:
        model = opened(server)
        capabilities = run_sync(model.probe)
        assert any(note.startswith(feature) for note in capabilities.notes)
        assert capabilities.calls == model.calls == len(server.bodies) <= 14
        assert run_sync(model.probe) == capabilities  # known by now
        assert capabilities.calls == len(server.bodies)


def test_an_ignored_seed_is_noticed_whichever_way_it_is_ignored() -> None:
    def constant(body: dict[str, Any]) -> Any:
        return completion({**body, "seed": 1})

    def varying(body: dict[str, Any]) -> Any:
        whole = completion(body)
        whole["choices"][0]["message"]["content"] = str(len(server.bodies))
        return whole

    for answer, sign in ((constant, "no effect"), (varying, "two different texts")):
        with FaultyServer(answer=answer) as server:
            notes = run_sync(opened(server).probe).notes
        assert any(note.startswith("seed") and sign in note for note in notes)


def test_a_server_that_does_everything_is_believed() -> None:
    def answer(body: dict[str, Any]) -> Any:
        whole = completion(body)
        for number, choice in enumerate(whole["choices"]):
            message = choice["message"]
            if "response_format" in body:
                message["content"] = '{"zq": "left"}'
            elif body["messages"][-1]["role"] == "assistant":
                message["content"] = " 6, 7"
            else:
                message["content"] = f"{body.get('seed')} {number}"
        return whole

    def fault(body: dict[str, Any]) -> Any:
        return None if body["model"] == "m" else error(404, "no such model", "model_not_found")

    with FaultyServer(fault, answer) as server:
        seen = run_sync(opened(server).probe)
    assert (seen.answer_logprobs, seen.seed, seen.n, seen.json_schema, seen.prefill) == (True,) * 5
    assert seen.notes == ()


@pytest.mark.parametrize("settings", [{"json_schema": {"type": "object"}}, {"prefill": "My answer is"}])
def test_what_a_server_only_pretends_to_do_is_not_relied_on(settings: dict[str, Any]) -> None:
    with FaultyServer() as server:
        replies = ask(opened(server), [question(str(k), **settings) for k in range(4)])
        assert len(server.bodies) == 1  # one look for all four
    for reply in replies:
        assert reply.status == "failed"
        assert "does not" in (reply.reason or "")
        assert not Failure.of(reply).transient  # type: ignore[union-attr]


def test_a_prefilled_answer_comes_back_whole_whether_or_not_the_server_repeats_the_prefill() -> None:
    for repeats in (False, True):

        def answer(body: dict[str, Any], repeats: bool = repeats) -> Any:
            whole = completion(body)
            begun = body["messages"][-1]["content"]
            more = " 6, 7" if begun.startswith("1") else " B."
            whole["choices"][0]["message"]["content"] = begun + more if repeats else more
            return whole

        with FaultyServer(answer=answer) as server:
            assert one(server, question(prefill="I choose")).text == "I choose B."


def test_a_server_without_log_probabilities_is_read_by_its_text() -> None:
    def answer(body: dict[str, Any]) -> Any:
        return completion({**body, "logprobs": False})

    with FaultyServer(answer=answer) as server:
        replies = ask(opened(server), [question(str(k), answers=("A", "B")) for k in range(6)])
    assert {(reply.status, reply.answer_logprobs) for reply in replies} == {("completed", None)}
    assert len(server.bodies) == 6 + 2  # two looks to be sure, once


def test_log_probabilities_that_get_lost_once_are_a_failure_that_may_pass() -> None:
    def fault(body: dict[str, Any]) -> Any:
        return "no logprobs" if "lost" in str(body["messages"]) else None

    with FaultyServer(fault) as server:
        model = opened(server, concurrency=1)
        kept, lost = ask(model, [question(answers=("A", "B")), question("lost", answers=("A", "B"))])
    assert kept.answer_logprobs
    assert lost.status == "failed"
    assert Failure.of(lost).transient  # type: ignore[union-attr]


def test_a_server_that_lists_fewer_tokens_or_none_is_asked_for_so_many() -> None:
    def at_most(most: int) -> Any:
        def fault(body: dict[str, Any]) -> Any:
            if body.get("top_logprobs", 0) > most:
                return error(400, f"top_logprobs must be at most {most}")
            return error(400, "logprobs is not supported") if body.get("logprobs") and not most else None

        return fault

    for most, given in ((5, True), (0, False)):
        with FaultyServer(at_most(most)) as server:
            replies = ask(opened(server, concurrency=3), [question(str(k), answers=("A", "B")) for k in range(9)])
        assert {reply.status for reply in replies} == {"completed"}
        assert {reply.answer_logprobs is not None for reply in replies} == {given}


def test_the_cap_on_tokens_is_called_what_the_server_calls_it() -> None:
    def fault(body: dict[str, Any]) -> Any:
        if "max_tokens" in body:
            return error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        return None

    with FaultyServer(fault) as server:
        model = opened(server)
        assert [reply.status for reply in ask(model, [question(), question("again")])] == ["completed"] * 2
    assert server.bodies[-1]["max_completion_tokens"] == 256


def test_samplers_that_servers_switch_on_by_themselves_are_switched_off() -> None:
    for owner, sign in (("llamacpp", "repeat_penalty"), ("vllm", "repetition_penalty")):
        with FaultyServer(owner=owner) as server:
            one(server)
        assert server.bodies[0][sign] == 1.0
        assert server.bodies[0]["top_p"] == 1.0
