from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import pytest

from introspect.backend import Cached, FunctionBackend, Message, Reply, Request, ask, run_sync
from introspect.backend.grouping import GROUP_SECONDS, GROUP_SIZE, kept_in_groups
from introspect.errors import FatalBackendError, StoreError


def reply(index: int) -> Reply:
    return Reply(status="completed", text=str(index))


async def burst(n: int, pause: float = 0.0):
    for index in range(n):
        await asyncio.sleep(pause)
        yield index, reply(index)


def groups_of(source, keep=None, **options) -> list[list[int]]:
    """Indices of the replies, group by group, as they were kept."""
    kept: list[list[int]] = []

    def note(group: Sequence[tuple[int, Reply]]) -> None:
        if keep is not None:
            keep(group)
        kept.append([index for index, _ in group])

    async def main() -> None:
        async for _ in kept_in_groups(source, note, **options):
            pass

    run_sync(main)
    return kept


def test_replies_that_come_together_are_kept_together_and_each_once() -> None:
    kept = groups_of(burst(1000))
    assert [index for group in kept for index in group] == list(range(1000))
    assert len(kept) < 100
    assert max(map(len, kept)) <= GROUP_SIZE


def in_one_of_many_tries(holds: Callable[[], bool]) -> bool:
    """Whether something about time holds at least once: another process may have the core for a while."""
    return any(holds() for _ in range(20))


def test_a_lone_reply_is_kept_at_once() -> None:
    assert in_one_of_many_tries(lone_replies_do_not_wait)


def lone_replies_do_not_wait() -> bool:
    waited: list[float] = []
    came = 0.0

    async def slow():
        nonlocal came
        for index in range(4):
            await asyncio.sleep(2 * GROUP_SECONDS)
            came = time.perf_counter()
            yield index, reply(index)

    assert groups_of(slow(), lambda group: waited.append(time.perf_counter() - came)) == [[0], [1], [2], [3]]
    return max(waited) < GROUP_SECONDS / 2


def test_a_steady_stream_is_kept_within_fifty_milliseconds() -> None:
    assert in_one_of_many_tries(a_steady_stream_is_kept_in_time)


def a_steady_stream_is_kept_in_time() -> bool:
    came: dict[int, float] = {}
    waited: list[float] = []

    async def stream():
        for index in range(300):
            until = time.perf_counter() + 0.0005
            while time.perf_counter() < until:  # the event loop is never idle
                await asyncio.sleep(0)
            came[index] = time.perf_counter()
            yield index, reply(index)

    groups_of(stream(), lambda group: waited.extend(time.perf_counter() - came[index] for index, _ in group))
    assert len(waited) == 300
    return max(waited) < 0.05


def test_a_blocking_backend_holds_up_no_reply() -> None:
    # A local model computes in the event loop's own thread: the reply before must not wait for the next.
    kept: list[int] = []
    seen: list[int] = []

    def answer(request: Request) -> str:
        seen.append(len(kept))
        time.sleep(2 * GROUP_SECONDS)
        return "A"

    class Shelf(dict):
        def put(self, key, request, reply, info):
            kept.append(1)
            self[key] = reply

    questions = [Request(messages=(Message(role="user", content=str(i)),)) for i in range(4)]
    ask(Cached(FunctionBackend(answer, name="n", version="1"), Shelf()), questions)
    assert seen == [0, 1, 2, 3]


def test_keeping_goes_on_while_the_consumer_is_busy() -> None:
    kept: list[int] = []

    async def main() -> None:
        async for _ in kept_in_groups(burst(50, 0.001), lambda group: kept.extend(i for i, _ in group)):
            await asyncio.sleep(0.3)
            break
        assert len(kept) > 10

    run_sync(main)


def test_what_has_arrived_is_kept_when_the_consumer_leaves() -> None:
    kept: list[int] = []
    yielded: list[int] = []

    async def source():
        for index in range(100):
            yielded.append(index)
            yield index, reply(index)
        await asyncio.sleep(60)

    async def main() -> None:
        groups = kept_in_groups(source(), lambda group: kept.extend(i for i, _ in group))
        async for _ in groups:
            break
        await groups.aclose()

    run_sync(main)
    assert set(yielded) == set(kept)


def test_replies_that_came_before_an_error_are_kept_and_handed_on() -> None:
    async def source():
        for index in range(5):
            yield index, reply(index)
        raise FatalBackendError("out of credit")

    kept: list[int] = []
    seen: list[int] = []

    async def main() -> None:
        async for group in kept_in_groups(source(), lambda group: kept.extend(i for i, _ in group)):
            seen.extend(index for index, _ in group)

    with pytest.raises(FatalBackendError, match="out of credit"):
        run_sync(main)
    assert kept == seen == [0, 1, 2, 3, 4]


def test_replies_that_cannot_be_kept_are_not_handed_on() -> None:
    seen: list[int] = []

    def keep(group: Sequence[tuple[int, Reply]]) -> None:
        if any(index >= 3 for index, _ in group):
            raise StoreError("the disk is full")

    async def main() -> None:
        async for group in kept_in_groups(burst(50, 2 * GROUP_SECONDS), keep):
            seen.extend(index for index, _ in group)

    with pytest.raises(StoreError, match="full"):
        run_sync(main)
    assert seen == [0, 1, 2]


def test_a_consumer_that_is_far_behind_holds_up_the_asking() -> None:
    asked: list[int] = []

    async def source():
        for index in range(10_000):
            asked.append(index)
            yield index, reply(index)

    async def main() -> None:
        async for _ in kept_in_groups(source(), lambda group: None):
            await asyncio.sleep(0.2)
            break

    run_sync(main)
    assert len(asked) < 6 * GROUP_SIZE


def test_where_keeping_waits_for_a_disk_the_event_loop_goes_on() -> None:
    ticks: list[int] = []

    async def keep_slowly(group: Sequence[tuple[int, Reply]]) -> None:
        await asyncio.sleep(0.02)
        ticks.append(len(group))

    kept = groups_of(burst(500), keep_waiting=keep_slowly)
    assert kept == []  # the other way was taken
    assert sum(ticks) == 500
    assert len(ticks) < 100
