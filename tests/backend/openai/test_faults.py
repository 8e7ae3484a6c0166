"""A server that fails at random: nothing is lost, nothing is doubled, and what failed says why."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import random
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from faulty_server import FaultyServer, completion, error

from introspect.backend import (
    Budget,
    Cached,
    Limited,
    Message,
    ModelRef,
    Price,
    Reply,
    Request,
    Retrying,
    ask,
    open_model,
    run_sync,
)
from introspect.backend.failures import Failure
from introspect.backend.openai import OpenAIBackend
from introspect.backend.openai.body import body_of
from introspect.backend.openai.parse import read_choice, usage_of
from introspect.backend.secrets import Secret
from introspect.errors import FatalBackendError
from introspect.store import Store
from introspect.training import StoredReplies

FAULTS = (
    error(429, "slow down"),
    error(429, "slow down", retry_after="0.02"),
    error(500),
    error(503),
    "reset",
    "stall",
    "truncated",
    "html",
    "no logprobs",
    "no choices",
)
FAULT_RATE = 0.3


def run_through_faults(n: int, folder: Path, *, attempts: int) -> None:
    chance = random.Random(7)
    asked = [
        Request(messages=(Message(role="user", content=f"{k}: A or B?"),), answers=("A", "B"), max_tokens=4)
        for k in range(n)
    ]

    def fault(body: dict[str, Any]) -> Any:
        return chance.choice(FAULTS) if chance.random() < FAULT_RATE else None

    seen: list[int] = []
    with FaultyServer(fault) as server, Store.open(folder / "study.db") as store:
        ref = ModelRef(provider="openai", model="m", location=server.url)
        bare = OpenAIBackend(ref, concurrency=32, timeout=1.0)
        stack = Retrying(
            Limited(bare), attempts=attempts, first_wait=0.01, longest_wait=0.05, jitter=0.01, patience=10**6
        )
        replies = ask(Cached(stack, StoredReplies(store)), asked, on_reply=lambda index, reply: seen.append(index))
        kept = sum(1 for _ in store.replies())
        log, calls = list(server.bodies), bare.calls

        # Again, with the server at peace: only what failed is asked, and now all is there.
        server.fault = None
        again = ask(Cached(stack, StoredReplies(store)), asked)
        asked_again = len(server.bodies) - len(log)

    assert sorted(seen) == list(range(n))
    failed = [reply for reply in replies if reply.status == "failed"]
    assert {reply.status for reply in replies} <= {"completed", "failed"}
    assert 0 < len(failed) < 3 * FAULT_RATE**attempts * n
    for reply in failed:
        assert f"gave up after {attempts} attempts" in (reply.reason or "")
        assert Failure.of(reply).transient  # type: ignore[union-attr]
    # Every call is told of by the reply that it led to, and the server's own log knows of no other. (A call that was
    # given up before it went out is in no log.)
    made = [int(reply.provenance.get("attempts", 1)) for reply in replies]  # type: ignore[arg-type]
    assert calls == sum(made) + bare.findings.calls
    logged = Counter(body["messages"][0]["content"] for body in log)
    for request, count in zip(asked, made, strict=True):
        assert logged.pop(request.messages[0].content, 0) <= count
    assert sum(logged.values()) <= bare.findings.calls
    assert len(log) > 1.25 * n
    assert kept == n - len(failed)
    assert asked_again == len(failed)
    for request, reply, second in zip(asked, replies, again, strict=True):
        right = pure(request, bare)
        assert second.status == "completed"
        for given in (reply, second) if reply.status != "failed" else (second,):
            assert (given.text, given.answer_logprobs) == (right.text, right.answer_logprobs)


def pure(request: Request, backend: OpenAIBackend) -> Reply:
    """What the server answers to a request when nothing goes wrong."""
    choice = completion(body_of(request, "m", backend.manners))["choices"][0]
    return read_choice(choice, request, usage_of({}, 1), {})[0]


def test_every_request_is_answered_once_or_failed_with_a_reason(tmp_path: Path) -> None:
    run_through_faults(500, tmp_path, attempts=3)


@pytest.mark.slow
def test_ten_thousand_requests_at_thirty_percent_faults(tmp_path: Path) -> None:
    run_through_faults(10_000, tmp_path, attempts=5)


PLANTED = "sk-pl4nted-0123456789-key"


def test_a_planted_key_is_in_no_log_store_record_error_repr_or_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server repeats the key wherever it can."""
    told = f"key {PLANTED} sent as Bearer {PLANTED}"
    faults: list[Any] = [
        error(400, told),
        error(429, told, retry_after="0.01"),
        error(500, told),
        (200, {"content-type": "text/html"}, f"<html>{told}</html>".encode()),
        (200, {}, {"error": {"message": told}}),
        "reset",
        error(400, told, "content_filter"),
        *[error(status, told, code) for status, code in ((401, ""), (403, ""), (404, ""), (429, "insufficient_quota"))],
    ]

    def answer(body: dict[str, Any]) -> Any:
        whole = completion(body)
        return {**whole, "model": "m", "system_fingerprint": "f"}

    log = io.StringIO()
    handler = logging.StreamHandler(log)
    monkeypatch.setattr(logging.getLogger(), "level", logging.DEBUG)
    for name in ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "stamina", "introspect", "asyncio"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.DEBUG)
    logging.getLogger().addHandler(handler)
    shown: list[str] = []
    try:
        waiting: list[Any] = []
        with FaultyServer(lambda body: waiting.pop() if waiting else None, answer) as server:
            port = server.url.split(":")[2].removesuffix("/v1")
            monkeypatch.setenv(f"INTROSPECT_API_KEY_127_0_0_1_{port}", PLANTED)
            ref = ModelRef(provider="openai", model="m", location=server.url)
            with Store.open(tmp_path / "study.db") as store:
                model = open_model(
                    ref,
                    cache=StoredReplies(store),
                    record=tmp_path / "calls.jsonl",
                    budget=Budget(cap=10.0, prices={"m": Price(1, 1)}),
                )
                for number, fault in enumerate([None, *faults]):
                    waiting[:] = [fault] if fault else []
                    asked = Request(messages=(Message(role="user", content=f"{number}"),), answers=("A", "B"))
                    try:
                        shown += [repr(reply) for reply in ask(model, [asked])]
                    except FatalBackendError as stopped:
                        shown += [str(stopped), repr(stopped), repr(stopped.__context__), repr(stopped.__cause__)]
                        whole = traceback.TracebackException.from_exception(stopped, capture_locals=True)
                        # But for this function's own variables, which hold what the server is to say.
                        whole.stack[:] = [frame for frame in whole.stack if frame.filename != __file__]
                        assert len(whole.stack) > 5
                        shown.append("".join(whole.format()))
                shown.append(repr(run_sync(model.probe)))
                wrapper: Any = model
                while wrapper is not None:
                    shown += [repr(wrapper), repr(vars(wrapper))]
                    wrapper = getattr(wrapper, "inner", getattr(wrapper, "_backend", None))
                run_sync(model.aclose)
            assert any(PLANTED in headers["authorization"] for headers in server.seen_headers)
        gc.collect()
    finally:
        logging.getLogger().removeHandler(handler)
    texts = {"shown": "".join(shown), "log": log.getvalue(), "ref": ref.model_dump_json()}
    texts |= {path.name: path.read_bytes().decode("latin-1") for path in tmp_path.iterdir() if path.is_file()}
    assert len(texts) >= 5
    assert "does not accept the key" in texts["shown"]
    assert "***" in texts["calls.jsonl"]
    assert not [name for name, text in texts.items() if PLANTED in text or PLANTED[3:14] in text]


def test_a_key_given_at_run_time_is_hidden_as_well() -> None:
    with FaultyServer(lambda body: error(400, f"bad {PLANTED}")) as server:
        ref = ModelRef(provider="openai", model="m", location=server.url)
        key = Secret(PLANTED)
        model = OpenAIBackend(ref, key=key)
        (reply,) = ask(model, [Request(messages=(Message(role="user", content="?"),))])
        assert server.seen_headers[0]["authorization"] == f"Bearer {PLANTED}"
    assert PLANTED not in repr(reply) + repr(vars(model))


def test_a_cancelled_run_leaves_no_request_behind() -> None:
    async def main() -> int:
        replies = model.generate([Request(messages=(Message(role="user", content=str(k)),)) for k in range(100)])
        await anext(replies)
        await replies.aclose()  # type: ignore[attr-defined]
        asked = len(server.bodies)
        await asyncio.sleep(0.3)
        return len(server.bodies) - asked

    with FaultyServer(delay=0.05) as server:
        model = OpenAIBackend(ModelRef(provider="openai", model="m", location=server.url), concurrency=4)
        assert run_sync(main) <= 4
