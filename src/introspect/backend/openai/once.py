"""A question to a server that is asked once, however many want to know at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["Once"]

T = TypeVar("T")


class Once(Generic[T]):
    """Finds something out when it is first needed, and remembers it; an error is raised and not remembered.

    Args:
        find: Finds it out.

    Example:
        >>> from introspect.backend import run_sync
        >>> async def look():
        ...     print("looked")
        ...     return 7
        >>> async def main():
        ...     once = Once(look)
        ...     return await asyncio.gather(once.get(), once.get())
        >>> run_sync(main)
        looked
        [7, 7]
    """

    def __init__(self, find: Callable[[], Awaitable[T]]) -> None:
        self._find = find
        self._found: list[T] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def value(self) -> T | None:
        """What was found, or None before."""
        return self._found[0] if self._found else None

    async def get(self) -> T:
        """What was found, found out now if it was not yet."""
        if not self._found:
            task = self._task
            if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
                task = self._task = asyncio.create_task(self._look())
            # Shielded: who waits may be cancelled without spoiling it for the others.
            await asyncio.shield(task)
        return self._found[0]

    def replace(self, value: T) -> None:
        """It turned out otherwise."""
        self._found = [value]

    async def _look(self) -> None:
        found = await self._find()
        if not self._found:
            self._found = [found]
