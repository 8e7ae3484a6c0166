"""What a served model owes to requests that come one right after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from introspect.backend import Capabilities, FunctionBackend, Message, Reply, Request
from introspect.serve.errors import ApiError
from introspect.serve.models import Desk


class Prompt(FunctionBackend):
    """Answers within one turn of the event loop, so that nothing happens to fall between two requests."""

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        for index in range(len(requests)):
            yield index, Reply(status="completed", text="A")


@pytest.mark.parametrize("parallel", [1, 2])
@pytest.mark.parametrize("clients", [1, 3])
def test_a_request_that_comes_as_the_last_is_answered_is_answered_too(parallel: int, clients: int) -> None:
    desk = Desk(Prompt(lambda request: "A", name="prompt", version="1"), parallel, pending=100)

    async def client(name: int) -> int:
        asked = [Request(messages=(Message(role="user", content=f"{name} {k}"),)) for k in range(50)]
        return len([(await desk.ask(request)).reply.text for request in asked])

    async def main() -> list[int]:
        return await asyncio.wait_for(asyncio.gather(*map(client, range(clients))), 60)

    assert asyncio.run(main()) == [50] * clients
    assert desk.idle


class Slow(FunctionBackend):
    """Answers nothing until it is let."""

    def __init__(self) -> None:
        super().__init__(lambda request: "A", name="slow", version="1")
        self.let = asyncio.Event()

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        await self.let.wait()
        for index in range(len(requests)):
            yield index, Reply(status="completed", text="A")

    async def probe(self) -> Capabilities:
        await self.let.wait()
        return Capabilities(answer_logprobs=False)


def question(k: int) -> Request:
    return Request(messages=(Message(role="user", content=str(k)),))


def test_requests_that_wait_for_a_model_that_is_put_away_are_told_to_ask_again() -> None:
    """More than one batch of them: those that no batch has taken yet have nobody else to tell them."""
    desk = Desk(Slow(), 1, pending=1000)

    async def main() -> list[Reply | BaseException]:
        asked = [asyncio.ensure_future(desk.ask(question(k))) for k in range(150)]
        await asyncio.sleep(0.05)
        await desk.aclose()
        with pytest.raises(ApiError, match="ask again"):
            await desk.ask(question(0))
        return await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 30)

    got = asyncio.run(main())
    assert [error.status for error in got] == [503] * 150


def test_a_model_that_is_still_being_looked_at_is_not_idle() -> None:
    """Else it could be closed to make room for another, in the middle of its first request."""
    backend = Slow()
    desk = Desk(backend, 1, pending=1)

    async def main() -> list[bool]:
        looking = asyncio.ensure_future(desk.capabilities())
        await asyncio.sleep(0.01)
        seen = [desk.idle]
        backend.let.set()
        await looking
        return [*seen, desk.idle]

    assert asyncio.run(main()) == [False, True]
