"""A plain Python function as a model."""

from __future__ import annotations

import functools
import inspect
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from introspect._notebook import short_repr
from introspect.backend.wire import Capabilities, Message, ModelInfo, ModelRef, Reply, Request
from introspect.errors import BackendError, FatalBackendError

__all__ = ["FunctionBackend"]

_PROBE = Request(
    messages=(Message(role="user", content="Reply with one letter, A or B."),),
    answers=("A", "B"),
    max_tokens=4,
)


class FunctionBackend:
    """Asks a function: the fake in a test, the rule in a control arm, the wrapper around a model of your own.

    An exception in the function becomes a failed reply; only `FatalBackendError` is raised.

    Args:
        fn: Takes a `Request`, returns text or a `Reply`. Plain functions are called one after the other;
            coroutine functions run concurrently.
        name: What the model is called in rows and keys.
        version: Raise it whenever the function's answers change. Without both, the backend works but nothing
            is cached, and each object counts as another model: nobody can tell two anonymous functions apart.
        concurrency: How many calls of a coroutine function may be under way at once.

    Raises:
        BackendError: `fn` cannot be called, or an argument is out of range.

    Example:
        >>> from introspect.backend import Message, Request, ask
        >>> always_a = FunctionBackend(lambda request: "A", name="always-a", version="1")
        >>> ask(always_a, [Request(messages=(Message(role="user", content="A or B?"),))])[0].text
        'A'
    """

    def __init__(
        self,
        fn: Callable[[Request], str | Reply | Awaitable[str | Reply]],
        name: str | None = None,
        version: str | None = None,
        concurrency: int = 16,
    ) -> None:
        if not callable(fn):
            raise BackendError(f"FunctionBackend needs a function of a Request, got {type(fn).__name__}")
        if concurrency < 1:
            raise BackendError(f"concurrency must be at least 1, got {concurrency}")
        for what, given in (("name", name), ("version", version)):
            if given is not None and not (isinstance(given, str) and given):
                raise BackendError(f"the {what} of a FunctionBackend must be a non-empty string, got {given!r}")
        self._fn = fn
        self._said = f"{name or getattr(fn, '__name__', 'a function')!r}, version {version!r}"
        self._concurrency = concurrency
        known = name is not None and version is not None
        self._info = ModelInfo(
            ref=ModelRef(
                provider="function",
                model=name or getattr(fn, "__qualname__", type(fn).__qualname__),
                revision=version if known else f"unnamed-{uuid.uuid4().hex}",
                settings={} if known else {"cache": False},
            )
        )

    def __repr__(self) -> str:
        return short_repr(self, self._said)

    @property
    def info(self) -> ModelInfo:
        """Identity: name and version, or one of its own for an unnamed function."""
        return self._info

    async def probe(self) -> Capabilities:
        """Ask once for A or B and see whether log-probabilities come back."""
        reply = await self._one(_PROBE)
        notes = (f"the probe failed: {reply.reason}",) if reply.status == "failed" else ()
        return Capabilities(answer_logprobs=bool(reply.answer_logprobs), calls=1, notes=notes)

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        """Yield ``(index, reply)`` as the function returns.

        Raises:
            FatalBackendError: The function raised it.
        """
        import asyncio

        if _is_async(self._fn):
            from introspect.backend.streaming import as_finished

            async for pair in as_finished(self._one, requests, self._concurrency):
                yield pair
        else:
            for index, request in enumerate(requests):
                await asyncio.sleep(0)  # a place where the run can be cancelled
                yield index, await self._one(request)

    async def aclose(self) -> None:
        """Nothing to close."""

    async def _one(self, request: Request) -> Reply:
        try:
            answer = self._fn(request)
            if inspect.isawaitable(answer):
                answer = await answer
        except FatalBackendError:
            raise
        except Exception as error:
            return Reply(status="failed", reason=f"{type(error).__name__}: {error}")
        return _as_reply(answer)


def _as_reply(answer: object) -> Reply:
    if isinstance(answer, Reply):
        return answer
    if isinstance(answer, str):
        return Reply(status="completed", text=answer)
    got = type(answer).__name__
    return Reply(status="failed", reason=f"the function returned {got}, expected a str or a Reply")


def _is_async(fn: object) -> bool:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004
