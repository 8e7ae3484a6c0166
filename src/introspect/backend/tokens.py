"""Token by token: what some backends can tell beyond the seam, for who serves them on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from introspect.backend.wire import Reply, Request

__all__ = ["TokenLogprob", "TokenReader"]


class TokenLogprob(NamedTuple):
    """One token of an answer and what could have stood in its place.

    Attributes:
        token: Its text, with the space before it.
        logprob: Its natural-log probability, before temperature.
        top: The likeliest tokens at this place and their log-probabilities, likeliest first.
    """

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@runtime_checkable
class TokenReader(Protocol):
    """A backend that also knows its answers token by token."""

    def generate_with_tokens(
        self, requests: Sequence[Request], top: int
    ) -> AsyncIterator[tuple[int, Reply, tuple[TokenLogprob, ...]]]:
        """As `generate`, with the tokens from the answer's first on, each with the `top` likeliest.

        A backend that knows fewer tokens than it said gives those, and none that it does not know. An answer that
        ended before its first word is one token with empty text.
        """
        ...
