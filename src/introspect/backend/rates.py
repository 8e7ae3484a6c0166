"""How fast a server may be asked: what it says in its headers, even spacing, and a gate."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["Bucket", "Gate", "RateLimits", "seconds_of"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)")
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(text: str | None) -> float | None:
    """Seconds in a duration as services write it.

    Example:
        >>> [seconds_of(text) for text in ("1s", "6m0s", "250ms", "1.5", "soon")]
        [1.0, 360.0, 0.25, 1.5, None]
    """
    if text is None:
        return None
    text = text.strip()
    try:
        value = float(text)
    except ValueError:
        parts = _DURATION.findall(text)
        if not parts or "".join(n + unit for n, unit in parts) != text:
            return None
        return float(sum(float(number) * _SECONDS[unit] for number, unit in parts))
    return value if 0 <= value < 1e9 else None


@dataclass(frozen=True)
class RateLimits:
    """What a server's ``x-ratelimit-*`` headers said.

    Attributes:
        requests: Requests allowed a minute.
        tokens: Tokens allowed a minute.
        pause: Seconds until there is room again, where none is left.

    Example:
        >>> RateLimits.from_headers({"x-ratelimit-limit-requests": "500", "x-ratelimit-remaining-requests": "0",
        ...                          "x-ratelimit-reset-requests": "120ms"})
        RateLimits(requests=500.0, tokens=None, pause=0.12)
    """

    requests: float | None = None
    tokens: float | None = None
    pause: float = 0.0

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> RateLimits | None:
        """What the headers say, or None where they say nothing of it."""
        known = {
            what: (
                seconds_of(headers.get(f"x-ratelimit-limit-{what}")),
                seconds_of(headers.get(f"x-ratelimit-remaining-{what}")),
                seconds_of(headers.get(f"x-ratelimit-reset-{what}")),
            )
            for what in ("requests", "tokens")
        }
        if not any(part is not None for parts in known.values() for part in parts):
            return None
        waits = [reset for _, left, reset in known.values() if left is not None and left < 1 and reset is not None]
        return cls(
            requests=known["requests"][0] or None, tokens=known["tokens"][0] or None, pause=max(waits, default=0.0)
        )


class Bucket:
    """Hands out so many a minute, evenly spaced: services also count within the minute.

    Args:
        per_minute: How many a minute.

    Example:
        >>> bucket = Bucket(60)
        >>> bucket.take(1, now=0.0), bucket.take(1, now=0.0), bucket.take(1, now=2.0)
        (0.0, 1.0, 0.0)
    """

    def __init__(self, per_minute: float) -> None:
        self.per_minute = per_minute
        self._free_at = float("-inf")  # when the next may be taken

    def take(self, amount: float, now: float | None = None) -> float:
        """Take so much, and say how many seconds to wait before using it."""
        now = time.monotonic() if now is None else now
        begin = max(self._free_at, now)
        self._free_at = begin + amount * 60.0 / self.per_minute
        return begin - now


class Gate:
    """Lets so many through at once: half as many after a server pushed back, one more a round where it did not.

    Args:
        most: How many at most; it begins with all of them.

    Example:
        >>> gate = Gate(8)
        >>> gate.pushed_back(now=0.0), gate.width
        (None, 4)
        >>> for _ in range(10): gate.went_well()
        >>> gate.width
        6
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._width = float(most)
        self._inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed_until = float("-inf")
        self._halved_at = float("-inf")

    @property
    def width(self) -> int:
        """How many may be inside at once."""
        return int(self._width)

    async def enter(self) -> None:
        """Wait until there is room. Every call must be followed by one of `leave`."""
        while True:
            rest = self._closed_until - time.monotonic() if self._closed_until > 0 else 0.0
            if rest > 0:
                import asyncio

                await asyncio.sleep(rest)
            elif self._inside < int(self._width):
                self._inside += 1
                return
            else:
                await self._queue()

    def leave(self) -> None:
        """Make room for the next."""
        self._inside -= 1
        self._wake()

    def went_well(self) -> None:
        """A server that answers may be asked a little faster."""
        if self._width < self._most:
            self._width = min(self._width + 1.0 / self._width, self._most)

    def pushed_back(self, pause: float = 0.0, now: float | None = None) -> None:
        """Ask half as many at once, and nothing at all for `pause` seconds.

        Complaints that come at the same time are about the same crowd, and halve it once.
        """
        now = time.monotonic() if now is None else now
        if now - self._halved_at > 1.0:
            self._halved_at = now
            self._width = max(1.0, self._width / 2)
        self.close_for(pause, now)

    def close_for(self, pause: float, now: float | None = None) -> None:
        """Let nobody in for so many seconds."""
        if pause > 0:
            now = time.monotonic() if now is None else now
            self._closed_until = max(self._closed_until, now + pause)

    async def _queue(self) -> None:
        import asyncio

        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            # Woken and cancelled at once: the turn belongs to someone else then.
            if turn.done() and not turn.cancelled():
                self._wake()
            raise
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)

    def _wake(self) -> None:
        free = int(self._width) - self._inside
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1
