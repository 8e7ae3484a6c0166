from __future__ import annotations

import asyncio
import gc
import json
import math
import time
from typing import Any

import pytest
from faulty_server import FaultyServer, completion, error

from introspect.backend import Message, ModelRef, Reply, Request, ask, collect, run_sync
from introspect.backend.failures import Failure
from introspect.backend.openai import OpenAIBackend
from introspect.errors import BackendError, ConfigError, FatalBackendError
from introspect.testing.conformance import check_backend, check_reply


def opened(server: FaultyServer, **options: Any) -> OpenAIBackend:
    return OpenAIBackend(ModelRef(provider="openai", model="m", location=server.url), **options)


def question(text: str = "A or B?", **settings: Any) -> Request:
    return Request(messages=(Message(role="user", content=text),), **settings)


def one(server: FaultyServer, request: Request | None = None, **options: Any) -> Reply:
    return ask(opened(server, **options), [request or question(answers=("A", "B"))])[0]


def test_it_keeps_the_promises_of_a_backend() -> None:
    with FaultyServer() as server:
        check_backend(lambda: opened(server), deterministic=True)


def test_a_failing_request_leaves_its_neighbours_unharmed() -> None:
    def fault(body: dict[str, Any]) -> Any:
        return error(400, "prompt too long") if "long" in str(body["messages"]) else None

    with FaultyServer(fault) as server:
        check_backend(lambda: opened(server), failing=question("a long story"))


def test_tokens_that_spell_a_label_are_summed_and_the_rest_is_kept() -> None:
    with FaultyServer() as server:
        reply = one(server)
    top = {e["token"]: math.exp(e["logprob"]) for e in _top(server.bodies[-1])}
    assert reply.answer_logprobs == pytest.approx(
        {"A": math.log(top["A"] + top[" A"]), "B": math.log(top["B"])}, abs=1e-9
    )
    assert reply.mass_outside == pytest.approx(1 - top["A"] - top[" A"] - top["B"])
    assert reply.logprob_floor == pytest.approx(math.log(min(top.values())))


def _top(body: dict[str, Any]) -> list[dict[str, Any]]:
    return completion(body)["choices"][0]["logprobs"]["content"][0]["top_logprobs"]


def test_only_what_a_request_needs_is_sent() -> None:
    with FaultyServer() as server:
        one(server, question())
    assert set(server.bodies[0]) == {"model", "messages", "temperature", "max_tokens"}


def test_a_tuned_model_is_asked_for_by_its_own_name() -> None:
    with FaultyServer() as server:
        ref = ModelRef(provider="openai", model="base", adapter="ft:base:mine", location=server.url)
        ask(OpenAIBackend(ref), [question()])
    assert server.bodies[0]["model"] == "ft:base:mine"


def test_the_address_is_not_part_of_the_identity_but_tells_where_a_reply_came_from() -> None:
    with FaultyServer() as server, FaultyServer() as moved:
        assert opened(server).info.key == opened(moved).info.key
        assert one(server).provenance["url"] == server.url


def test_as_many_requests_as_allowed_are_under_way_at_once() -> None:
    with FaultyServer(delay=0.4) as server:
        replies = ask(opened(server, concurrency=8), [question(str(i)) for i in range(16)])
        assert server.busiest == 8
    assert {reply.status for reply in replies} == {"completed"}


def test_requests_that_differ_by_sample_index_alone_go_out_together_once_n_was_seen_to_work() -> None:
    spread = iter(range(10_000))

    def answer(body: dict[str, Any]) -> Any:
        whole = completion(body)
        for choice in whole["choices"]:
            choice["message"]["content"] = f"sample {next(spread)}"
        return whole

    asked = [question(temperature=1.0, sample_index=k) for k in range(5)]
    with FaultyServer(answer=answer) as server:
        model = opened(server)
        assert len({reply.text for reply in ask(model, asked)}) == 5
        assert [body.get("n") for body in server.bodies] == [None] * 5
        assert run_sync(model.probe).n
        del server.bodies[:]
        replies = ask(model, asked)
        assert [body.get("n") for body in server.bodies] == [5]
        assert len({reply.text for reply in replies}) == 5
        # One prompt was paid for, not five.
        assert sum(reply.usage.prompt_tokens or 0 for reply in replies) == 10


def test_a_server_that_sends_fewer_samples_than_asked_for_is_asked_again_for_the_others() -> None:
    fewer = False

    def answer(body: dict[str, Any]) -> Any:
        whole = completion(body)
        for number, choice in enumerate(whole["choices"]):
            choice["message"]["content"] = f"{number} {len(server.bodies)}"
        return {**whole, "choices": whole["choices"][:2]} if fewer else whole

    with FaultyServer(answer=answer) as server:
        model = opened(server)
        assert run_sync(model.probe).n
        fewer = True
        replies = ask(model, [question(temperature=1.0, sample_index=k) for k in range(5)])
    assert [reply.status for reply in replies] == ["completed"] * 5
    assert len({reply.text for reply in replies}) == 5


def test_repeats_of_a_seeded_request_get_seeds_of_their_own() -> None:
    with FaultyServer() as server:
        ask(opened(server), [question(temperature=1.0, seed=7, sample_index=k) for k in range(3)])
    seeds = [body["seed"] for body in server.bodies]
    assert 7 in seeds
    assert len(set(seeds)) == 3


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


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (error(429, retry_after="7"), "rate limited"),
        (error(500), "server error"),
        (error(503), "overloaded"),
        ("reset", "connection"),
        ("truncated", "malformed"),
        ("html", "malformed"),
        ("no choices", "malformed"),
        (error(400, "context too long"), "refused"),
        ((200, {}, {"error": {"message": "backend fell over"}}), "malformed"),
        ((200, {}, [1, 2]), "malformed"),
        ((200, {}, {"choices": [{"message": None}]}), "malformed"),
    ],
)
def test_every_failure_is_a_failed_reply_of_a_known_kind(fault: Any, kind: str) -> None:
    with FaultyServer(lambda body: fault) as server:
        reply = one(server)
        assert len(server.bodies) == 1  # and the SDK did not ask again behind our back
    failure = Failure.of(reply)
    assert failure is not None
    assert failure.kind == kind
    assert failure.retry_after == (7.0 if kind == "rate limited" else None)
    assert reply.reason
    check_reply(question(), reply)


def test_a_server_that_stalls_is_given_up_in_time() -> None:
    with FaultyServer(lambda body: "stall") as server:
        began = time.monotonic()
        reply = one(server, timeout=0.3)
        assert time.monotonic() - began < 20
    assert Failure.of(reply).kind == "timeout"  # type: ignore[union-attr]


def test_a_server_that_is_not_there_is_a_failed_connection() -> None:
    with FaultyServer() as server:
        model = opened(server)
    reply = ask(model, [question()])[0]
    failure = Failure.of(reply)
    assert failure is not None
    assert (failure.kind, failure.charged) == ("connection", False)


@pytest.mark.parametrize(
    ("fault", "sign"),
    [
        (error(401, "Incorrect API key"), "does not accept the key"),
        (error(403, "Project has no access"), "does not permit"),
        (error(404, "no such model", "model_not_found"), "knows no model 'm'"),
        (error(429, "You exceeded your current quota", "insufficient_quota"), "out of credit"),
        (error(402, "Insufficient Balance"), "out of credit"),
    ],
)
def test_an_error_that_dooms_all_calls_is_raised_after_what_was_delivered(fault: Any, sign: str) -> None:
    def doom(body: dict[str, Any]) -> Any:
        return fault if "doom" in str(body["messages"]) else None

    delivered: list[int] = []
    with FaultyServer(doom) as server:
        model = opened(server, concurrency=2)
        asked = [question("1"), question("2"), question("doom"), *[question(str(k)) for k in range(3, 20)]]
        with pytest.raises(FatalBackendError, match=sign):
            ask(model, asked, on_reply=lambda index, reply: delivered.append(index))
        assert len(server.bodies) <= 5
    assert {0, 1} <= set(delivered)


@pytest.mark.parametrize(
    "fault", [error(400, "flagged", "content_filter"), error(403, "Input was flagged by moderation")]
)
def test_a_prompt_that_the_service_holds_back_is_filtered_and_not_failed(fault: Any) -> None:
    with FaultyServer(lambda body: fault) as server:
        reply = one(server)
    assert (reply.status, bool(reply.reason)) == ("filtered", True)


@pytest.mark.parametrize(
    ("choice", "status", "text", "thought"),
    [
        ({"finish_reason": "length"}, "truncated", "A", None),
        ({"finish_reason": "content_filter"}, "filtered", "A", None),
        ({"message": {"content": None, "refusal": "I can't"}}, "completed", "I can't", None),
        ({"message": {"content": "B", "reasoning_content": "hm"}}, "completed", "B", "hm"),
        ({"message": {"content": "<think>hm</think>\n\nB"}}, "completed", "B", "hm"),
        ({"message": {"content": [{"type": "text", "text": "B"}]}}, "completed", "B", None),
        ({"message": {"content": None}, "finish_reason": "length"}, "truncated", "", None),
    ],
)
def test_replies_say_how_they_ended(choice: dict[str, Any], status: str, text: str, thought: str | None) -> None:
    whole = {"choices": [{"message": {"content": "A"}, "finish_reason": "stop", **choice}]}
    with FaultyServer(answer=lambda body: whole) as server:
        reply = one(server, question())
    assert (reply.status, reply.text, reply.thinking_text) == (status, text, thought)
    check_reply(question(), reply)


def test_it_can_be_used_from_one_event_loop_after_another() -> None:
    with FaultyServer() as server:
        model = opened(server)

        async def main() -> str:
            return (await collect(model, [question()]))[0].text

        assert asyncio.run(main()) == asyncio.run(main()) == run_sync(main)
        gc.collect()


def test_what_cannot_be_opened_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(FatalBackendError, match="OPENAI_API_KEY"):
        OpenAIBackend(ModelRef(provider="openai", model="gpt"))
    with pytest.raises(ConfigError, match="not the address"):
        OpenAIBackend(ModelRef(provider="openai", model="m", location="localhost:8000"))
    with pytest.raises(ConfigError, match="leave it out"):
        OpenAIBackend(ModelRef(provider="openai", model="m", location="http://u:secretsecret@localhost/v1"))
    with pytest.raises(BackendError, match="no settings"):
        OpenAIBackend(ModelRef(provider="openai", model="m", settings={"base_url": "x"}))
    with pytest.raises(BackendError, match="positive"):
        OpenAIBackend(ModelRef(provider="openai", model="m", location="http://localhost"), concurrency=0)


def test_azure_s_older_interface_is_asked_by_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    from introspect.backend.openai import address
    from introspect.backend.openai.address import Address

    monkeypatch.setattr(address, "_SERVICES", (("127.0.0.1", "azure"),))
    with FaultyServer() as server:
        location = f"http://127.0.0.1:{server.port}?api-version=2024-10-21"
        assert Address.of(location).api_version == "2024-10-21"
        ref = ModelRef(provider="openai", model="my-deployment", location=location)
        assert ask(OpenAIBackend(ref, key="azure-key-12345"), [question()])[0].status == "completed"
        sent = server.seen_headers[0]
    assert sent["path"] == "/openai/deployments/my-deployment/chat/completions?api-version=2024-10-21"
    assert sent["api-key"] == "azure-key-12345"
    assert "max_completion_tokens" in server.bodies[0]


def test_what_the_environment_holds_for_openai_is_not_sent_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "for-openai-only")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with FaultyServer() as server:
        one(server)
        assert "for-openai-only" not in json.dumps(server.seen_headers)
