from __future__ import annotations

import asyncio

import pytest

from introspect.backend import Message, Reply, Request, run_sync
from introspect.backend.streaming import as_finished
from introspect.errors import FatalBackendError


def questions(n: int) -> list[Request]:
    return [Request(messages=(Message(role="user", content=str(i)),)) for i in range(n)]


def number(request: Request) -> int:
    return int(request.messages[-1].content)


def test_replies_come_as_they_finish_and_not_in_the_order_asked() -> None:
    async def one(request: Request) -> Reply:
        await asyncio.sleep(0.05 if number(request) == 0 else 0)
        return Reply(status="completed", text=str(number(request)))

    async def main() -> list[int]:
        return [index async for index, _ in as_finished(one, questions(4), 4)]

    order = run_sync(main)
    assert sorted(order) == [0, 1, 2, 3]
    assert order[-1] == 0


def test_after_a_fatal_error_nothing_new_is_asked_but_what_is_under_way_is_delivered() -> None:
    begun: list[int] = []
    delivered: list[int] = []

    async def one(request: Request) -> Reply:
        begun.append(number(request))
        if number(request) == 0:
            raise FatalBackendError("gone")
        await asyncio.sleep(0.01)
        return Reply(status="completed")

    async def main() -> None:
        async for index, _ in as_finished(one, questions(10), 3):
            delivered.append(index)

    with pytest.raises(FatalBackendError, match="gone"):
        run_sync(main)
    assert begun == [0, 1, 2]
    assert sorted(delivered) == [1, 2]


def test_a_slow_consumer_holds_back_the_asking() -> None:
    begun = 0

    async def one(request: Request) -> Reply:
        nonlocal begun
        begun += 1
        return Reply(status="completed")

    async def main() -> int:
        replies = as_finished(one, questions(1000), 2)
        await anext(replies)
        await asyncio.sleep(0.01)
        seen = begun
        await replies.aclose()
        return seen

    assert run_sync(main) <= 6


def test_leaving_early_cancels_what_is_under_way() -> None:
    cancelled: list[int] = []

    async def one(request: Request) -> Reply:
        try:
            await asyncio.sleep(0 if number(request) == 0 else 60)
        except asyncio.CancelledError:
            cancelled.append(number(request))
            raise
        return Reply(status="completed")

    async def main() -> None:
        replies = as_finished(one, questions(3), 3)
        await anext(replies)
        await replies.aclose()

    run_sync(main)
    assert sorted(cancelled) == [1, 2]


def test_no_requests_are_no_replies() -> None:
    async def main() -> list[object]:
        async def never(request: Request) -> Reply:
            raise AssertionError

        return [pair async for pair in as_finished(never, (), 4)]

    assert run_sync(main) == []
