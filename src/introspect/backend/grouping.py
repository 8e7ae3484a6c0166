"""Replies kept in groups: one commit for all that arrive together, and none that waits for company."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from introspect.backend.streaming import closable
from introspect.backend.wire import Reply

__all__ = ["GROUP_SECONDS", "GROUP_SIZE", "kept_in_groups"]

GROUP_SECONDS = 0.025
"""A group is closed after so long at the latest: with the commit itself, replies are safe within 50 ms."""

GROUP_SIZE = 256
"""A group is closed at so many replies."""

Arrived = tuple[int, Reply]
T = TypeVar("T")


async def kept_in_groups(
    source: AsyncIterator[Arrived],
    keep: Callable[[Sequence[Arrived]], None],
    keep_waiting: Callable[[Sequence[Arrived]], Awaitable[None]] | None = None,
) -> AsyncGenerator[Sequence[Arrived], None]:
    """Keep replies as they arrive and hand each group on once it is kept.

    A reply is kept at once if the last group was closed `GROUP_SECONDS` ago or more. While replies come faster, a group
    is closed as soon as nothing more is on its way, after `GROUP_SECONDS`, or at `GROUP_SIZE`. This goes on while the
    consumer is busy. Replies that have arrived when the consumer leaves are kept before they are let go of: they are
    paid for.

    Args:
        source: Replies as they finish.
        keep: Keeps a group, whole or not at all.
        keep_waiting: The same for the usual case, where it may wait without holding up the event loop; `keep` where
            None.

    Raises:
        Exception: What `source` raised, after all that it gave before was kept and handed on; or what keeping raised.

    Example:
        >>> from introspect.backend import run_sync
        >>> async def three():
        ...     for index in range(3):
        ...         yield index, Reply(status="completed", text=str(index))
        >>> kept = []
        >>> async def main():
        ...     return [index async for group in kept_in_groups(three(), kept.extend) for index, _ in group]
        >>> run_sync(main), len(kept)
        ([0, 1, 2], 3)
    """
    import asyncio  # on use: it costs a tenth of the library's import time

    pending: list[Arrived] = []
    ready: deque[Sequence[Arrived]] = deque()
    arrived, changed, taken = asyncio.Event(), asyncio.Event(), asyncio.Event()
    over = False
    raised: list[BaseException] = []

    async def pull() -> None:
        nonlocal over
        try:
            async with aclosing(closable(source)) as replies:
                async for pair in replies:
                    pending.append(pair)
                    arrived.set()
                    # A consumer that is far behind holds up further asking, so that little is lost if it stops.
                    while len(pending) >= GROUP_SIZE or sum(map(len, ready)) >= 2 * GROUP_SIZE:
                        taken.clear()
                        await taken.wait()
        except Exception as error:
            raised.append(error)
        finally:
            over = True
            arrived.set()

    async def commit() -> None:
        loop = asyncio.get_running_loop()
        until = 0.0
        try:
            while True:
                await arrived.wait()
                before = 0
                # One turn of the event loop without a new reply: nothing is on its way.
                while before < len(pending) < GROUP_SIZE and not over and loop.time() < until:
                    before = len(pending)
                    await asyncio.sleep(0)
                until = loop.time() + GROUP_SECONDS
                arrived.clear()
                group, pending[:] = list(pending), []
                if group:
                    try:
                        await _keep(group, keep, keep_waiting)
                    except BaseException:
                        # Whoever cancelled this has the last word on what becomes of them.
                        pending[:0] = group
                        raise
                    ready.append(group)
                    taken.set()
                    changed.set()
                if over and not pending:
                    return
                if pending:
                    arrived.set()
        except Exception as error:
            pending.clear()  # they cannot be kept
            raised.insert(0, error)
        finally:
            changed.set()

    tasks = [asyncio.create_task(pull()), asyncio.create_task(commit())]
    try:
        while True:
            await changed.wait()
            changed.clear()
            while ready:
                group = ready.popleft()
                taken.set()
                yield group
            if tasks[1].done() and not ready:
                break
        if raised:
            raise raised[0]
    finally:
        for task in tasks:
            task.cancel()
        # Not awaited for: in a cancelled scope nothing can be. Keeping a reply twice is harmless.
        if pending:
            keep(list(pending))
            pending.clear()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep(
    group: Sequence[Arrived],
    keep: Callable[[Sequence[Arrived]], None],
    keep_waiting: Callable[[Sequence[Arrived]], Awaitable[None]] | None,
) -> None:
    if keep_waiting is None:
        keep(group)
    else:
        await keep_waiting(group)
