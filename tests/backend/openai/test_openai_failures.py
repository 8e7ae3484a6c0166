"""What goes wrong on the way to a hosted model is a failed reply of a known kind, or stops all."""

from __future__ import annotations

import time
from typing import Any

import pytest
from asking_hosted import one, opened, question
from faulty_server import FaultyServer, error

from introspect.backend import ask
from introspect.backend.failures import Failure
from introspect.errors import FatalBackendError
from introspect.testing.conformance import check_reply


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
