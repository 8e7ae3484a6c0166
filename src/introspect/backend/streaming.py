"""Replies as they finish: the loop that every concurrent backend needs and that is easily got wrong."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from introspect.errors import FatalBackendError

__all__ = ["as_finished", "closable"]

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")
Item = TypeVar("Item")


async def as_finished(
    one: Callable[[Asked], Awaitable[Answered]], requests: Sequence[Asked], limit: int
) -> AsyncGenerator[tuple[int, Answered], None]:
    """Ask at most `limit` requests at once and yield ``(index, reply)`` as they finish.

    A request that is not asked yet waits while the consumer is busy, so that little is lost when the process
    dies.

    Args:
        one: Answers one request. It turns its own errors into failed replies; what it raises stops the run.
        requests: What to ask.
        limit: How many may be under way at once.

    Raises:
        Exception: The first exception that `one` raised (a `FatalBackendError`, usually): no further request
            is begun, the replies of those under way are still yielded, and then it is raised.

    Example:
        >>> from introspect.backend import Message, Reply, Request, run_sync
        >>> async def echo(request):
        ...     return Reply(status="completed", text=request.messages[-1].content)
        >>> async def main():
        ...     asked = [Request(messages=(Message(role="user", content=word),)) for word in ("one", "two")]
        ...     return sorted([(i, reply.text) async for i, reply in as_finished(echo, asked, limit=2)])
        >>> run_sync(main)
        [(0, 'one'), (1, 'two')]
    """
    import asyncio  # on use: it costs a tenth of the library's import time

    # Tasks and a queue, not a task group: a generator that is suspended inside a task group's cancel scope
    # and then closed from another task breaks that scope.
    finished: asyncio.Queue[tuple[int, Answered] | BaseException | None] = asyncio.Queue(maxsize=limit)
    todo = iter(enumerate(requests))
    doomed = False

    async def work() -> None:
        nonlocal doomed
        try:
            for index, request in todo:
                await finished.put((index, await one(request)))
                if doomed:
                    break
        except Exception as error:
            doomed = True
            await finished.put(error)
        await finished.put(None)

    workers = [asyncio.create_task(work()) for _ in range(max(1, min(limit, len(requests))))]
    running, raised = len(workers), None
    try:
        while running:
            got = await finished.get()
            if got is None:
                running -= 1
            elif isinstance(got, BaseException):
                # A fatal error tells the user more than whatever else broke beside it.
                if raised is None or (isinstance(got, FatalBackendError) and not isinstance(raised, FatalBackendError)):
                    raised = got
            else:
                yield got
        if raised is not None:
            raise raised
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def closable(replies: AsyncIterator[Item]) -> AsyncGenerator[Item, None]:
    """Any async iterator as a generator, so that leaving early closes what can be closed.

    Example:
        >>> from introspect.backend import FunctionBackend, Message, Request, run_sync
        >>> model = FunctionBackend(lambda request: "A", name="always-a", version="1")
        >>> question = Request(messages=(Message(role="user", content="A or B?"),))
        >>> async def first():
        ...     replies = closable(model.generate([question] * 2))
        ...     async for _, reply in replies:
        ...         await replies.aclose()
        ...         return reply.text
        >>> run_sync(first)
        'A'
    """
    try:
        async for pair in replies:
            yield pair
    finally:
        close = getattr(replies, "aclose", None)
        if close is not None:
            await close()
