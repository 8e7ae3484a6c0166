from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.backend import (
    Cached,
    FunctionBackend,
    Message,
    ModelInfo,
    ModelRef,
    Reply,
    Request,
    ask,
    collect,
    request_key,
    run_sync,
)
from introspect.errors import BackendError, FatalBackendError


class Shelf(dict):
    """The smallest ReplyStore."""

    def put(self, key, request, reply, info):
        self[key] = reply


def question(text: str = "A or B?", **fields: object) -> Request:
    return Request(messages=(Message(role="user", content=text),), **fields)


def info(**fields: object) -> ModelInfo:
    return ModelInfo(ref=ModelRef(**{"provider": "p", "model": "m", **fields}))


BASE = Request(
    messages=(Message(role="system", content="s"), Message(role="user", content="u")),
    answers=("A", "B"),
    max_tokens=16,
    temperature=0.5,
    seed=1,
    sample_index=0,
    prefill="p",
    json_schema={"type": "object", "default": None},
    thinking=0,
)


@pytest.mark.parametrize(
    "change",
    [
        {"messages": BASE.messages[1:]},
        {"messages": BASE.messages[::-1]},
        {"messages": (BASE.messages[0], Message(role="user", content="u "))},
        {"messages": (BASE.messages[0], Message(role="assistant", content="u"))},
        {"answers": ("B", "A")},
        {"answers": ("A",)},
        {"answers": None},
        {"max_tokens": 17},
        {"temperature": 0.0},
        {"seed": 2},
        {"seed": None},
        {"sample_index": 1},
        {"prefill": "q"},
        {"prefill": ""},
        {"prefill": None},
        {"json_schema": {"type": "array", "default": None}},
        {"json_schema": {"type": "object"}},
        {"json_schema": {"default": None, "type": "object"}},
        {"json_schema": None},
        {"thinking": 100},
        {"thinking": None},
    ],
    ids=str,
)
def test_whatever_the_model_sees_or_obeys_changes_the_key(change: dict) -> None:
    assert request_key(info(), BASE.model_copy(update=change)) != request_key(info(), BASE)


def test_every_field_of_a_request_is_in_the_key() -> None:
    # A field that is added later must enter the key, or the list above must say why not.
    changed = {
        "messages": (Message(role="user", content="other"),),
        "answers": ("C",),
        "max_tokens": 99,
        "temperature": 0.9,
        "seed": 99,
        "sample_index": 99,
        "prefill": "other",
        "json_schema": {"other": 1},
        "thinking": 99,
    }
    assert set(changed) == set(Request.model_fields)
    keys = {request_key(info(), BASE.model_copy(update={name: value})) for name, value in changed.items()}
    assert len(keys | {request_key(info(), BASE)}) == len(changed) + 1


@pytest.mark.parametrize(
    "change",
    [
        {"provider": "q"},
        {"model": "n"},
        {"revision": "1"},
        {"adapter": "a"},
        {"settings": {"x": 1}},
    ],
    ids=str,
)
def test_another_model_is_another_key(change: dict) -> None:
    assert request_key(info(**change), BASE) != request_key(info(), BASE)


@pytest.mark.parametrize(
    "change",
    [
        {"location": "/elsewhere"},
        {"parent": ModelRef(provider="p", model="base")},
        {"settings": {}},
    ],
    ids=str,
)
def test_where_a_model_lies_and_came_from_is_not_in_the_key(change: dict) -> None:
    assert request_key(info(**change), BASE) == request_key(info(), BASE)


def test_what_is_known_about_a_model_besides_its_identity_is_not_in_the_key() -> None:
    more = ModelInfo(ref=info().ref, context_length=2048, n_parameters=10)
    assert request_key(more, BASE) == request_key(info(), BASE)


@given(st.text(), st.text(), st.text(), st.text())
@settings(max_examples=20)
def test_no_two_conversations_share_a_key(a: str, b: str, c: str, d: str) -> None:
    def key(first: str, second: str) -> str:
        messages = (Message(role="system", content=first), Message(role="user", content=second))
        return request_key(info(), Request(messages=messages))

    assert (key(a, b) == key(c, d)) == ((a, b) == (c, d))


def test_nothing_is_asked_twice_across_batches() -> None:
    seen: list[str] = []

    def answer(request: Request) -> str:
        seen.append(request.messages[-1].content)
        return request.messages[-1].content.upper()

    shelf = Shelf()
    batch = [question(word) for word in ("a", "b", "c")]
    first = ask(Cached(FunctionBackend(answer, name="upper", version="1"), shelf), batch)
    model = Cached(FunctionBackend(answer, name="upper", version="1"), shelf)
    second = ask(model, [*batch, question("d")])
    assert [reply.text for reply in first] == ["A", "B", "C"]
    assert second[:3] == first
    assert second[3].text == "D"
    assert seen == ["a", "b", "c", "d"]
    assert (model.asked, model.hits) == (1, 3)


def test_equal_requests_of_one_batch_are_asked_once_and_all_answered() -> None:
    calls: list[Request] = []
    model = Cached(FunctionBackend(lambda r: calls.append(r) or str(len(calls)), name="n", version="1"), Shelf())
    replies = ask(model, [question("x"), question("y"), question("x"), question("x", sample_index=1)])
    assert [reply.text for reply in replies] == ["1", "2", "1", "3"]
    assert len(calls) == 3


def test_a_failed_reply_is_handed_on_but_never_kept() -> None:
    attempts: list[int] = []

    def flaky(request: Request) -> str:
        attempts.append(1)
        if len(attempts) == 1:
            raise ConnectionError("try later")
        return "fine"

    shelf = Shelf()
    model = Cached(FunctionBackend(flaky, name="flaky", version="1"), shelf)
    first = ask(model, [question(), question()])
    assert [reply.status for reply in first] == ["failed", "failed"]
    assert shelf == {}
    assert ask(model, [question()])[0].text == "fine"
    assert len(shelf) == 1


@pytest.mark.parametrize("status", ["completed", "truncated", "filtered"])
def test_a_reply_that_was_paid_for_is_kept(status: str) -> None:
    shelf = Shelf()
    reply = Reply(status=status, text="A", reason="why", provenance={"url": "u"})
    ask(Cached(FunctionBackend(lambda request: reply, name="n", version="1"), shelf), [question()])
    assert list(shelf.values()) == [reply]


@pytest.mark.parametrize("given", [{}, {"name": "n"}, {"version": "1"}])
def test_a_function_without_name_and_version_is_not_cached(given: dict) -> None:
    calls: list[int] = []
    shelf = Shelf()
    model = Cached(FunctionBackend(lambda r: calls.append(1) or "A", **given), shelf)
    ask(model, [question(), question()])
    ask(model, [question()])
    assert len(calls) == 3
    assert shelf == {}


def test_a_reply_is_kept_before_it_is_handed_on() -> None:
    shelf = Shelf()
    kept_when_seen: list[int] = []
    model = Cached(FunctionBackend(lambda request: "A", name="n", version="1"), shelf)
    ask(model, [question(str(i)) for i in range(3)], on_reply=lambda i, r: kept_when_seen.append(len(shelf)))
    assert all(kept >= seen for seen, kept in enumerate(kept_when_seen, 1))
    assert len(kept_when_seen) == 3


def test_a_fatal_error_is_raised_after_what_came_before_it_is_kept() -> None:
    def answer(request: Request) -> str:
        if request.messages[-1].content == "2":
            raise FatalBackendError("the key was revoked")
        return "A"

    shelf = Shelf()
    seen: list[int] = []
    model = Cached(FunctionBackend(answer, name="n", version="1"), shelf)
    with pytest.raises(FatalBackendError, match="revoked"):
        ask(model, [question(str(i)) for i in range(4)], on_reply=lambda i, r: seen.append(i))
    assert seen == [0, 1]
    assert len(shelf) == 2


def test_a_backend_that_answers_what_it_was_not_asked_is_found_out() -> None:
    class Liar(FunctionBackend):
        async def generate(self, requests):
            yield 0, Reply(status="completed", text="A")
            yield 0, Reply(status="completed", text="B")

    with pytest.raises(BackendError, match="exactly once"):
        ask(Cached(Liar(lambda request: "", name="liar", version="1"), Shelf()), [question(), question("2")])


def test_capabilities_are_found_out_once() -> None:
    calls: list[int] = []
    model = Cached(FunctionBackend(lambda r: calls.append(1) or "A", name="n", version="1"), Shelf())
    assert run_sync(model.probe) == run_sync(model.probe)
    assert len(calls) == 1


def test_leaving_early_closes_the_inner_backend() -> None:
    closed: list[bool] = []

    class Watched(FunctionBackend):
        async def generate(self, requests):
            try:
                async for pair in super().generate(requests):
                    yield pair
            finally:
                closed.append(True)

    model = Cached(Watched(lambda request: "A", name="n", version="1"), Shelf())

    def stop(index: int, reply: Reply) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        run_sync(collect, model, [question("1"), question("2")], stop)
    assert closed == [True]
