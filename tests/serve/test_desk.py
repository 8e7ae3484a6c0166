"""What a served model owes to requests that come one right after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from introspect.backend import FunctionBackend, Message, Reply, Request
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
