"""A backend that asks again where that can help."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from introspect.backend.failures import Failure
from introspect.backend.protocol import ModelBackend
from introspect.backend.wire import Reply, Request
from introspect.backend.wrapping import Wrapper
from introspect.errors import ConfigError, FatalBackendError

__all__ = ["Retrying"]


class Retrying(Wrapper):
    """A backend around a backend that asks again after a failure that may pass.

    Which failures those are is said by the `Failure` that a failed reply carries: rate limits, overload, server errors,
    timeouts, lost connections and unreadable answers. Others are handed on at once, and a `FatalBackendError` (bad key,
    out of credit) goes through. Waits double, with jitter; where the server says how long to wait, so long is waited.

    Args:
        backend: Who is asked.
        attempts: How often a request is asked at most.
        seconds: How long a request is tried at most; a server that asks to wait longer than is left is not waited for.
        first_wait: Seconds before the second attempt.
        longest_wait: Seconds between two attempts at most, unless the server says otherwise.
        jitter: Up to so many seconds are added to each wait.
        patience: After so many requests in a row that were given up, the server counts as gone.
        contact: How often a server that was never reached is tried at most; then it is not there.

    Raises:
        ConfigError: A number is out of range.

    Example:
        >>> from introspect.backend import FunctionBackend, Message, ask
        >>> failures = [Failure("overloaded", retry_after=0.01).reply("503")]
        >>> def answer(request):
        ...     return failures.pop() if failures else "A"
        >>> model = Retrying(FunctionBackend(answer, name="wobbly", version="1"))
        >>> reply = ask(model, [Request(messages=(Message(role="user", content="A or B?"),))])[0]
        >>> reply.text, reply.provenance["attempts"]
        ('A', 2)
    """

    def __init__(
        self,
        backend: ModelBackend,
        *,
        attempts: int = 10,
        seconds: float = 600.0,
        first_wait: float = 0.5,
        longest_wait: float = 60.0,
        jitter: float = 0.5,
        patience: int = 20,
        contact: int = 6,
    ) -> None:
        if min(attempts, patience, contact) < 1 or not min(seconds, first_wait, longest_wait) > 0 or jitter < 0:
            raise ConfigError(
                "attempts, seconds, waits, patience and contact must be positive, and jitter not negative"
            )
        super().__init__(backend)
        self._attempts, self._seconds, self._patience = attempts, seconds, patience
        self._first_wait, self._longest_wait, self._jitter = first_wait, longest_wait, jitter
        self._contact, self._met = contact, False
        self._given_up = 0

    async def answer(self, asked: Sequence[Request]) -> list[Reply]:
        """Replies; those that are still failed after all attempts say so in their reason.

        Raises:
            FatalBackendError: From the inner backend, or because the server seems to be gone.
        """
        replies = await self._ask(asked)
        if not _transient(replies):
            self._given_up = 0
            return replies
        return await self._again(asked, replies)

    async def _ask(self, asked: Sequence[Request]) -> list[Reply]:
        replies = await self.ask_inner(asked)
        self._met = self._met or any(not _unmet(reply) for reply in replies)
        return replies

    async def _again(self, asked: Sequence[Request], replies: list[Reply]) -> list[Reply]:
        import stamina

        # A warning a retry is for those who set up logging, and not for the screens of the others.
        logger = logging.getLogger("stamina")
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
        began, number = time.monotonic(), 1

        def worth(error: Exception) -> bool | float:
            if not isinstance(error, _StillFailed) or (number >= self._contact and not self._met):
                return False
            wait = error.failure.retry_after
            if wait is None:
                return True
            return False if wait > self._seconds - (time.monotonic() - began) else wait

        try:
            async for attempt in stamina.retry_context(
                on=worth,
                attempts=self._attempts,
                timeout=self._seconds,
                wait_initial=self._first_wait,
                wait_max=self._longest_wait,
                wait_jitter=self._jitter,
            ):
                with attempt:
                    number = attempt.num
                    if number > 1:
                        which = _transient(replies)
                        for place, reply in zip(which, await self._ask([asked[k] for k in which]), strict=True):
                            told = {**reply.provenance, "attempts": number}
                            replies[place] = reply.model_copy(update={"provenance": told})
                    if failed := _transient(replies):
                        raise _StillFailed(replies[failed[0]])
        except _StillFailed as still:
            return self._give_up(replies, number, time.monotonic() - began, still.failure)
        self._given_up = 0
        return replies

    def _give_up(self, replies: list[Reply], number: int, seconds: float, failure: Failure) -> list[Reply]:
        # What is unreadable, or failed for one request, comes from a server that is there.
        self._given_up = self._given_up + 1 if failure.kind != "malformed" else 0
        why = f"gave up after {number} attempts in {seconds:.1f} s"
        if failure.retry_after is not None and failure.retry_after > self._seconds - seconds:
            why += f", for the server asks to wait {failure.retry_after:.0f} s more"
        for place in _transient(replies):
            reason = f"{replies[place].reason}; {why}"
            replies[place] = replies[place].model_copy(update={"reason": reason})
            if number >= self._contact and not self._met:
                raise FatalBackendError(
                    f"no server was reached: {reason}. Is it running, and is the address the right one? "
                    f"`introspect doctor URL` tries it; a study goes on where it stopped when it is run again"
                )
            if self._given_up >= self._patience:
                raise FatalBackendError(
                    f"{self._given_up} requests in a row were given up; the last: {reason}. "
                    f"Replies so far are kept: run again when the server answers"
                )
        return replies


class _StillFailed(Exception):
    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.reason)
        self.failure = Failure.of(reply) or Failure("malformed")


def _unmet(reply: Reply) -> bool:
    """Whether not even a connection was made."""
    failure = Failure.of(reply)
    return failure is not None and failure.kind == "connection" and not failure.charged


def _transient(replies: Sequence[Reply]) -> list[int]:
    return [
        place
        for place, reply in enumerate(replies)
        if reply.status == "failed" and (failure := Failure.of(reply)) is not None and failure.transient
    ]
