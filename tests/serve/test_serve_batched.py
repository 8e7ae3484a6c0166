"""Our batches over the wire, held against OpenAI's description on both sides, with a real model behind them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai_contract import Contract

from introspect.backend import FolderJobs, ModelRef, Request, ask, open_model, run_sync
from introspect.backend.openai import Batched, OpenAIBackend
from introspect.backend.wire import Message
from introspect.decision import OrganismStyle, TrialGenerator, organism_scenarios
from introspect.subjects.organism import organism_ref


@pytest.fixture
def backend(server: str, contract: Contract) -> Iterator[OpenAIBackend]:
    ref = ModelRef(provider="openai", model="shared", location=server)
    made = OpenAIBackend(ref)
    client = openai.AsyncOpenAI(base_url=server, api_key="unused", max_retries=0, http_client=contract.asynchronous())
    made.client = lambda: client  # type: ignore[method-assign]  # the same calls, through the contract
    made._kind.replace("plain")
    yield made
    run_sync(client.close)


def choices(n: int) -> list[Request]:
    contexts, style = organism_scenarios(n), OrganismStyle()
    trials = TrialGenerator().trials(contexts, 1, rng=1)
    prompts = [style.choice(scenario, trial) for scenario, trial in trials]
    return [
        Request(
            messages=tuple(Message(role=m.role, content=m.content) for m in prompt.messages),
            answers=prompt.answers,
            max_tokens=prompt.max_tokens,
        )
        for prompt in prompts
    ]


def test_a_batch_gives_what_single_requests_give_and_keeps_to_the_description(
    backend: OpenAIBackend, contract: Contract, tmp_path: Path
) -> None:
    asked = choices(12)
    model = Batched(backend, FolderJobs(tmp_path), most_requests=5, poll=(0.02, 0.1))
    replies = ask(model, asked)
    direct = ask(open_model(organism_ref("shared")), asked)
    assert [reply.text for reply in replies] == [reply.text for reply in direct]
    for reply, own in zip(replies, direct, strict=True):
        assert reply.answer_logprobs == pytest.approx(own.answer_logprobs, abs=1e-4)
    seen = {(method, template, status) for method, template, status in contract.seen}
    assert seen >= {
        ("POST", "/files", 200),
        ("POST", "/batches", 200),
        ("GET", "/batches/{batch_id}", 200),
        ("GET", "/files/{file_id}/content", 200),
    }
    assert (model.counts.missing, model.counts.duplicates, model.counts.malformed) == (0, 0, 0)


def test_a_second_run_without_replies_takes_them_from_the_batch_that_was_sent(
    backend: OpenAIBackend, contract: Contract, tmp_path: Path
) -> None:
    asked = choices(4)
    first = ask(Batched(backend, FolderJobs(tmp_path), poll=(0.02, 0.1)), asked)
    model = Batched(backend, FolderJobs(tmp_path), poll=(0.02, 0.1))
    again = ask(model, asked)
    assert [reply.text for reply in again] == [reply.text for reply in first]
    assert model.counts.adopted == 1
    assert [call[:2] for call in contract.seen].count(("POST", "/batches")) == 1
