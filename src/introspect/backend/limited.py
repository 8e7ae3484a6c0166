"""A backend that asks no faster than the server wants."""

from __future__ import annotations

from collections.abc import Sequence

from introspect.backend.failures import Failure
from introspect.backend.protocol import ModelBackend
from introspect.backend.rates import Bucket, Gate, RateLimits
from introspect.backend.wire import Reply, Request
from introspect.backend.wrapping import Wrapper
from introspect.errors import ConfigError

__all__ = ["Limited"]

_CHARACTERS = 4  # in a token, roughly; only the pace hangs on it
_MARGIN = 0.95  # of what the server allows: its clock is not ours


class Limited(Wrapper):
    """A backend around a backend that keeps to rate limits, given or learned, and slows down where it is told to.

    Requests are spaced evenly to stay below so many requests and tokens a minute; limits that are not given are taken
    from the server's ``x-ratelimit-*`` headers. Beside it, the number of requests under way is halved when the server
    says that it is too much (429, 503, 529), nothing is sent for as long as the server asks, and the number grows by
    one each round that goes well.

    Args:
        backend: Who is asked.
        requests_per_minute: None to learn it.
        tokens_per_minute: Of prompts and answers together, answers counted at their longest; None to learn it.
        concurrency: Requests under way at most; the backend's own by default.

    Raises:
        ConfigError: A limit is not positive.

    Example:
        >>> from introspect.backend import FunctionBackend, Message, ask
        >>> model = Limited(FunctionBackend(lambda request: "A", name="a", version="1"), requests_per_minute=60_000)
        >>> [reply.text for reply in ask(model, [Request(messages=(Message(role="user", content="A or B?"),))] * 3)]
        ['A', 'A', 'A']
    """

    def __init__(
        self,
        backend: ModelBackend,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        concurrency: int | None = None,
    ) -> None:
        super().__init__(backend)
        given = (requests_per_minute, tokens_per_minute, concurrency)
        if any(limit is not None and not limit > 0 for limit in given):
            raise ConfigError("requests_per_minute, tokens_per_minute and concurrency must be positive")
        self._most = concurrency or super().concurrency
        self._gate = Gate(self._most)
        self._fixed = (requests_per_minute is not None, tokens_per_minute is not None)
        self._requests = Bucket(requests_per_minute) if requests_per_minute else None
        self._tokens = Bucket(tokens_per_minute) if tokens_per_minute else None
        self._seen: RateLimits | None = None

    @property
    def concurrency(self) -> int:
        """Requests under way at most."""
        return self._most

    @property
    def width(self) -> int:
        """Requests that may be under way now."""
        return self._gate.width

    async def answer(self, asked: Sequence[Request]) -> list[Reply]:
        """The inner backend's replies, asked for when there is room."""
        if self._requests is not None or self._tokens is not None:
            await self._space(asked)
        await self._gate.enter()
        try:
            replies = await self.ask_inner(asked)
        finally:
            self._gate.leave()
        self._learn(replies)
        return replies

    async def _space(self, asked: Sequence[Request]) -> None:
        import asyncio

        wait = self._requests.take(1) if self._requests is not None else 0.0
        if self._tokens is not None:
            wait = max(wait, self._tokens.take(_tokens(asked)))
        if wait > 0:
            await asyncio.sleep(wait)

    def _learn(self, replies: Sequence[Reply]) -> None:
        limits = self.limits
        if limits is not None and limits is not self._seen:
            self._seen = limits
            self._gate.close_for(limits.pause)
            if not self._fixed[0]:
                self._requests = _adjusted(self._requests, limits.requests)
            if not self._fixed[1]:
                self._tokens = _adjusted(self._tokens, limits.tokens)
        failure = Failure.of(replies[0]) if replies[0].status == "failed" else None
        if failure is not None and failure.kind in ("rate limited", "overloaded"):
            self._gate.pushed_back(failure.retry_after or 0.0)
        elif failure is None:
            self._gate.went_well()


def _adjusted(bucket: Bucket | None, limit: float | None) -> Bucket | None:
    if limit is None:
        return bucket
    allowed = limit * _MARGIN
    return bucket if bucket is not None and bucket.per_minute == allowed else Bucket(allowed)


def _tokens(asked: Sequence[Request]) -> float:
    request = asked[0]
    prompt = sum(len(message.content) for message in request.messages) / _CHARACTERS
    return prompt + len(asked) * (request.max_tokens + (request.thinking or 0))
