"""What kind of failure a failed reply is, so that a wrapper knows whether asking again can help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import JsonValue

from introspect.backend.secrets import scrub
from introspect.backend.wire import Reply

__all__ = ["Failure", "FailureKind"]

FailureKind = Literal[
    "rate limited", "overloaded", "server error", "timeout", "connection", "malformed", "refused", "unable"
]

_TRANSIENT = frozenset({"rate limited", "overloaded", "server error", "timeout", "connection", "malformed"})
_KEY = "failure"
_LONGEST = 600  # characters of a reason: enough for a sentence of the service, too little for a page of HTML


@dataclass(frozen=True)
class Failure:
    """Why a request failed, in terms that decide what to do next.

    Attributes:
        kind: "rate limited" (429); "overloaded" (503, 529); "server error" (another 5xx); "timeout"; "connection"
            (refused, reset); "malformed" (the answer cannot be read); "refused" (the server says that the request is
            wrong); "unable" (the server is known not to do what is asked).
        retry_after: Seconds that the server asks to wait, where it says.
        charged: Whether the server may have done, and charged for, the work all the same.

    Example:
        >>> reply = Failure("rate limited", retry_after=2.0).reply("429: slow down")
        >>> reply.status, Failure.of(reply).transient, Failure.of(reply).retry_after
        ('failed', True, 2.0)
    """

    kind: FailureKind
    retry_after: float | None = None
    charged: bool = False

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later."""
        return self.kind in _TRANSIENT

    def reply(self, reason: str, **provenance: JsonValue) -> Reply:
        """A failed reply that carries this, its reason without keys."""
        told: dict[str, JsonValue] = {"kind": self.kind}
        if self.retry_after is not None:
            told["retry_after"] = self.retry_after
        if self.charged:
            told["charged"] = True
        return Reply(status="failed", reason=scrub(reason, _LONGEST), provenance={**provenance, _KEY: told})

    @classmethod
    def of(cls, reply: Reply) -> Failure | None:
        """What a reply carries; None for one that did not fail, or that says nothing about its kind."""
        told = reply.provenance.get(_KEY) if reply.status == "failed" else None
        if not isinstance(told, dict) or told.get("kind") not in get_args(FailureKind):
            return None
        wait = told.get("retry_after")
        return cls(
            kind=told["kind"],  # type: ignore[arg-type]  # checked above
            retry_after=float(wait) if isinstance(wait, int | float) else None,
            charged=told.get("charged") is True,
        )
