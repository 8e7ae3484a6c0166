from __future__ import annotations

import asyncio
import functools

import pytest

from introspect.backend import FunctionBackend, Message, ModelRef, Reply, Request, ask, run_sync
from introspect.errors import BackendError, FatalBackendError


def question(text: str = "A or B?") -> Request:
    return Request(messages=(Message(role="user", content=text),))


def echo(request: Request) -> str:
    return request.messages[-1].content


async def slow_echo(request: Request, delay: float = 0.0) -> str:
    await asyncio.sleep(delay)
    return echo(request)


class Callable:
    async def __call__(self, request: Request) -> str:
        return echo(request)


@pytest.mark.parametrize(
    "fn",
    [echo, slow_echo, functools.partial(slow_echo, delay=0.001), Callable(), lambda r: slow_echo(r)],
    ids=["function", "coroutine function", "partial", "object", "returns a coroutine"],
)
def test_any_kind_of_function_answers_in_order(fn) -> None:
    words = [str(i) for i in range(20)]
    assert [reply.text for reply in ask(FunctionBackend(fn), [question(word) for word in words])] == words


def test_a_reply_is_passed_on_as_it_is() -> None:
    reply = Reply(status="truncated", text="A", answer_logprobs={"A": -0.5})
    assert ask(FunctionBackend(lambda request: reply), [question()]) == [reply]


@pytest.mark.parametrize("is_async", [False, True])
def test_an_exception_fails_one_request_and_not_its_neighbours(is_async: bool) -> None:
    def answer(request: Request) -> str:
        if echo(request) == "1":
            raise ZeroDivisionError("by zero")
        return "fine"

    async def later(request: Request) -> str:
        return answer(request)

    replies = ask(FunctionBackend(later if is_async else answer), [question(str(i)) for i in range(3)])
    assert [reply.status for reply in replies] == ["completed", "failed", "completed"]
    assert replies[1].reason == "ZeroDivisionError: by zero"


def test_an_answer_of_the_wrong_type_is_a_failure_that_says_so() -> None:
    (reply,) = ask(FunctionBackend(lambda request: None), [question()])
    assert reply.status == "failed"
    assert "NoneType" in reply.reason


@pytest.mark.parametrize("is_async", [False, True])
def test_a_fatal_error_is_raised(is_async: bool) -> None:
    def answer(request: Request) -> str:
        raise FatalBackendError("out of credit")

    async def later(request: Request) -> str:
        return answer(request)

    with pytest.raises(FatalBackendError, match="out of credit"):
        ask(FunctionBackend(later if is_async else answer), [question()])


def test_coroutine_functions_run_concurrently_up_to_the_limit() -> None:
    under_way, most = 0, 0

    async def answer(request: Request) -> str:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.005)
        under_way -= 1
        return "A"

    ask(FunctionBackend(answer, concurrency=3), [question(str(i)) for i in range(9)])
    assert most == 3


def test_a_name_and_a_version_are_the_identity() -> None:
    one = FunctionBackend(echo, name="echo", version="1").info
    assert one == FunctionBackend(slow_echo, name="echo", version="1").info
    assert one.key != FunctionBackend(echo, name="echo", version="2").info.key
    assert one.ref == ModelRef(provider="function", model="echo", revision="1")


def test_unnamed_functions_are_never_taken_for_each_other() -> None:
    one, other = FunctionBackend(echo), FunctionBackend(echo)
    assert one.info == one.info
    assert one.info.key != other.info.key
    assert one.info.ref.settings == {"cache": False}


@pytest.mark.parametrize(
    "arguments",
    [{"fn": "text"}, {"fn": echo, "concurrency": 0}, {"fn": echo, "name": ""}, {"fn": echo, "version": 1}],
    ids=["no function", "no concurrency", "no name", "no text for a version"],
)
def test_unusable_arguments_are_refused(arguments: dict) -> None:
    with pytest.raises(BackendError):
        FunctionBackend(**arguments)


def test_the_probe_sees_whether_logprobs_come_back() -> None:
    with_logprobs = FunctionBackend(lambda r: Reply(status="completed", answer_logprobs={"A": -0.1}))
    assert run_sync(with_logprobs.probe).answer_logprobs
    assert not run_sync(FunctionBackend(echo).probe).answer_logprobs
    broken = run_sync(FunctionBackend(lambda r: 1 / 0).probe)
    assert not broken.answer_logprobs
    assert "ZeroDivisionError" in broken.notes[0]
