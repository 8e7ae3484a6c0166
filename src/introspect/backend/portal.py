"""From synchronous code into the asynchronous seam, also where an event loop is already running.

One event loop in one daemon thread per process, made on first use: the library's only module state. A
synchronous call hands its coroutine to that loop and waits, so it works in a script, in a notebook cell and
inside a coroutine (whose own loop stands still meanwhile; use the async twins there to let it run).
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, TypeVarTuple

from introspect.backend.protocol import ModelBackend
from introspect.backend.streaming import closable
from introspect.backend.wire import Reply, Request
from introspect.errors import BackendError

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

__all__ = ["ask", "collect", "run_sync"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_GRACE = 5.0  # seconds that an interrupted call gives its coroutine to clean up
_POLL = 0.1  # seconds between two looks at whether the task that waits here was cancelled


def run_sync(fn: Callable[[*Ts], Coroutine[Any, Any, T]], *args: *Ts) -> T:
    """Run a coroutine function in the process's portal and wait for its result.

    Safe inside a running event loop, in any thread, after `os.fork` and when called from a coroutine that
    itself runs in the portal. Ctrl-C cancels the coroutine, lets it clean up (for at most 5 s) and is raised
    here; the portal can be used again afterwards.

    Args:
        fn: A coroutine function.
        args: Its positional arguments.

    Returns:
        What the coroutine returned. What it raised is raised here.

    Example:
        >>> async def double(x: int) -> int:
        ...     return 2 * x
        >>> run_sync(double, 21)
        42
    """
    depth = _depth.get()
    portal = _portal(depth)
    call = _Call(fn, args, depth)
    try:
        portal.start_task_soon(call.run)
        call.wait()
    except BaseException:
        call.abandon()
        raise
    return call.result()


async def collect(
    backend: ModelBackend,
    requests: Sequence[Request],
    on_reply: Callable[[int, Reply], None] | None = None,
) -> list[Reply]:
    """All replies, in the order of the requests.

    Args:
        backend: Who is asked.
        requests: What is asked; nothing is sent where there are none.
        on_reply: Called with (index, reply) as each arrives.

    Raises:
        BackendError: The backend left a request unanswered, or answered one twice.
        FatalBackendError: From the backend; `on_reply` has seen all replies that came before.

    Example:
        >>> from introspect.backend import FunctionBackend, Message, Request
        >>> model = FunctionBackend(lambda request: "A", name="always-a", version="1")
        >>> question = Request(messages=(Message(role="user", content="A or B?"),))
        >>> [reply.text for reply in run_sync(collect, model, [question])]
        ['A']
    """
    if not requests:
        return []
    wrong = next((one for one in requests if not isinstance(one, Request)), None)
    if wrong is not None:
        raise BackendError(
            f"a model is asked a list of Requests, got {type(wrong).__name__}. Write "
            "Request(messages=(Message(role='user', content=...),))"
        )
    replies: list[Reply | None] = [None] * len(requests)
    async with aclosing(closable(_generate(backend, requests))) as arriving:
        async for index, reply in arriving:
            if not isinstance(reply, Reply):
                raise BackendError(
                    f"{backend.info.ref} yielded a {type(reply).__name__} for request {index}; a backend yields "
                    "index, Reply(status='completed', text=...)"
                )
            if not 0 <= index < len(replies) or replies[index] is not None:
                raise BackendError(
                    f"{backend.info.ref} yielded index {index} for a batch of {len(replies)}; "
                    f"a backend must yield every index exactly once"
                )
            replies[index] = reply
            if on_reply is not None:
                on_reply(index, reply)
    complete = [reply for reply in replies if reply is not None]
    if len(complete) < len(replies):
        first = replies.index(None)
        raise BackendError(
            f"{backend.info.ref} left {len(replies) - len(complete)} of {len(replies)} requests without a "
            f"reply, the first of them index {first}; a request that fails must yield a failed reply"
        )
    return complete


def _generate(backend: ModelBackend, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
    """What a backend yields, once it is known to be one: whoever writes their first is told what is missing."""
    make = getattr(backend, "generate", None)
    if make is None:
        raise BackendError(
            f"a model is an object with info, probe, generate and aclose, got {type(backend).__name__}. Open one with "
            "open_model(ModelRef(provider=..., model=...)), or wrap a function: FunctionBackend(fn, name=..., "
            "version=...)"
        )
    stream: AsyncIterator[tuple[int, Reply]] = make(requests)
    if not hasattr(stream, "__aiter__"):
        if isinstance(stream, Coroutine):
            stream.close()
        raise BackendError(
            f"{type(backend).__name__}.generate gave a {type(stream).__name__}; it must be an 'async def' that yields "
            "index, Reply(...) for each request, and returns nothing"
        )
    return stream


def ask(
    backend: ModelBackend,
    requests: Sequence[Request],
    on_reply: Callable[[int, Reply], None] | None = None,
) -> list[Reply]:
    """The synchronous twin of `collect`. `on_reply` is called in the portal's thread.

    Example:
        >>> from introspect.backend import FunctionBackend, Message, Request
        >>> model = FunctionBackend(lambda request: "A", name="always-a", version="1")
        >>> question = Request(messages=(Message(role="user", content="A or B?"),))
        >>> [reply.text for reply in ask(model, [question])]
        ['A']
    """
    return run_sync(collect, backend, requests, on_reply)


class _Call(Generic[T]):
    """One coroutine on its way through the portal."""

    def __init__(self, fn: Callable[..., Coroutine[Any, Any, T]], args: tuple[Any, ...], depth: int) -> None:
        self._fn, self._args, self._depth = fn, args, depth
        self._value: list[T] = []
        self._error: BaseException | None = None
        self._cancel: Callable[[], object] | None = None
        self._abandoned = False
        self._done = threading.Event()

    async def run(self) -> None:
        import asyncio

        _depth.set(self._depth + 1)
        # Cancelled as asyncio does it, once: a cancelled anyio scope would also interrupt whatever the
        # coroutine awaits while it cleans up.
        task = asyncio.current_task()
        if task is not None:
            self._cancel = partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel)
        try:
            if not self._abandoned:
                self._value.append(await self._fn(*self._args))
        except asyncio.CancelledError as error:
            self._error = error
            raise
        except BaseException as error:
            # Also SystemExit and KeyboardInterrupt: let through, they would end the portal for everyone else.
            self._error = error
        finally:
            self._done.set()

    def wait(self) -> None:
        """Wait here, unless the asyncio task that called us is cancelled meanwhile.

        ``asyncio.run`` answers the first Ctrl-C by cancelling its main task and not by an exception, which a
        task that stands still in this function would never notice.
        """
        task = _current_task()
        before = task.cancelling() if task is not None else 0
        while not self._done.wait(_POLL if task is not None else None):
            if task is not None and task.cancelling() > before:
                raise sys.modules["asyncio"].CancelledError

    def abandon(self) -> None:
        """Cancel the coroutine and let it clean up, for a while."""
        self._abandoned = True
        if self._cancel is not None and not self._done.is_set():
            self._cancel()
            self._done.wait(_GRACE)

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._value[0]


def _current_task() -> Any:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return None


# How deep the calling code already sits in portals. A function that is asked *by* the portal may use the
# synchronous API itself; it is then served by a second loop, for its own stands still while it waits.
_depth: ContextVar[int] = ContextVar("introspect_portal_depth", default=0)
_lock = threading.Lock()
_portals: dict[int, tuple[BlockingPortal, threading.Thread]] = {}


def _portal(depth: int) -> BlockingPortal:
    with _lock:
        if depth not in _portals or not _portals[depth][1].is_alive():
            started: Future[BlockingPortal] = Future()
            thread = threading.Thread(target=_serve, args=(started,), daemon=True, name=f"introspect-portal-{depth}")
            thread.start()
            _portals[depth] = (started.result(), thread)
        return _portals[depth][0]


def _serve(started: Future[BlockingPortal]) -> None:
    import anyio
    from anyio.from_thread import BlockingPortal

    async def serve() -> None:
        async with BlockingPortal() as portal:
            started.set_result(portal)
            await portal.sleep_until_stopped()

    try:
        anyio.run(serve, backend="asyncio")
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)


def _forget() -> None:
    """In a forked child: threads do not survive a fork, and a lock may have been held by one of them."""
    global _lock
    _lock = threading.Lock()
    _portals.clear()
    _depth.set(0)


def _stop() -> None:
    """At exit: cancel what still runs, so that sockets and files are closed while Python is whole."""
    while _portals:
        _, (portal, thread) = _portals.popitem()
        if thread.is_alive():
            try:
                portal.start_task_soon(portal.stop, True)
                thread.join(timeout=_GRACE)
            except RuntimeError:  # it stopped on its own
                continue


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
atexit.register(_stop)
