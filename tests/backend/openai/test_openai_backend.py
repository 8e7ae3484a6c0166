from __future__ import annotations

import asyncio
import gc
import json
import math
from typing import Any

import pytest
from asking_hosted import one, opened, question
from faulty_server import FaultyServer, completion, error

from introspect.backend import ModelRef, ask, collect, run_sync
from introspect.backend.openai import OpenAIBackend
from introspect.errors import BackendError, ConfigError, FatalBackendError
from introspect.testing.conformance import check_backend


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
