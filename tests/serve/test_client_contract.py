"""What our own client sends is what OpenAI's description says that it takes."""

from __future__ import annotations

import json

import pytest
from openai_contract import Contract, check_schema

from introspect.backend import Message, ModelRef, Request, ask, open_model, register, run_sync
from introspect.backend.openai import OpenAIBackend
from introspect.backend.openai.body import Manners, body_of
from introspect.serve import serving
from introspect.subjects import SimulatedAgent
from introspect.subjects.simulated import SimulatedBackend

TURN = (Message(role="system", content="Be brief."), Message(role="user", content="A or B?"))
SCHEMA = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"], "additionalProperties": False}


@pytest.mark.parametrize("dialect", ["openai", "azure", "plain", "vllm", "fireworks", "openrouter"])
@pytest.mark.parametrize("modern", [False, True])
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"answers": ("A", "B"), "max_tokens": 1},
        {"answers": ("A", "B"), "seed": 2**31 - 1, "sample_index": 3, "temperature": 2.0},
        {"json_schema": SCHEMA, "temperature": 0.0},
        {"prefill": "The answer is"},
        {"thinking": 0},
        {"thinking": 512},
    ],
    ids=str,
)
def test_every_body_keeps_to_the_description(dialect: str, modern: bool, asked: dict) -> None:
    # Together wants a number where the description has a yes or no, and llama.cpp is asked for more than 20: not here.
    manners = Manners(dialect=dialect, modern_limit=modern)
    for n in (1, 8):
        body = body_of(Request(messages=TURN, **asked), "m", manners, n)
        check_schema(json.loads(json.dumps(body)), "CreateChatCompletionRequest")
        assert body["messages"][: len(TURN)] == [message.model_dump() for message in TURN]


def test_the_probe_and_requests_of_every_kind_keep_to_it_on_the_wire(
    every_client: Contract, tmp_path, monkeypatch
) -> None:
    agent = SimulatedAgent(name="probed", logprobs=True)
    register("probed", open=lambda ref: SimulatedBackend(agent))
    with serving(ModelRef(provider="probed", model="probed"), tmp_path) as url:
        ref = ModelRef(provider="openai", model="probed", location=url)
        run_sync(OpenAIBackend(ref).probe)
        question = "choose k0001 A p40 q19 r70 s33 t90 B p45 q30 r54 s72 t89 :"
        asked = [
            Request(messages=(Message(role="user", content=question),), answers=("A", "B"), seed=1, sample_index=k)
            for k in range(4)
        ]
        replies = ask(open_model(ref), asked)
    assert {reply.status for reply in replies} == {"completed"}
    chats = [status for method, path, status in every_client.seen if (method, path) == ("POST", "/chat/completions")]
    assert len(chats) > 10
    assert set(chats) <= {200, 400, 404}
