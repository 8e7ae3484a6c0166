"""The files of the Batch API: requests on their way out, answers on their way back, in any order and state."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from introspect.backend.failures import Failure, FailureKind
from introspect.backend.openai.parse import Unreadable, read_body
from introspect.backend.secrets import scrub

__all__ = ["ENDPOINT", "Chunk", "Harvest", "chunks_of"]

ENDPOINT: Final = "/v1/chat/completions"

_UNASKED = ("batch_expired", "batch_cancelled")  # codes of requests that were never run
_NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")


@dataclass(frozen=True)
class Chunk:
    """Requests that go into one batch.

    Attributes:
        keys: Custom ids, in the order of the lines.
        content: The file.
    """

    keys: tuple[str, ...]
    content: bytes

    @property
    def digest(self) -> str:
        """Names the file and the batch, so that one that was sent can be found again."""
        return hashlib.blake2b(self.content, digest_size=16).hexdigest()

    def halves(self) -> tuple[Chunk, Chunk]:
        """The same requests in two files."""
        lines, middle = self.content.splitlines(keepends=True), len(self.keys) // 2
        first, second = (slice(None, middle), slice(middle, None))
        return (
            Chunk(self.keys[first], b"".join(lines[first])),
            Chunk(self.keys[second], b"".join(lines[second])),
        )


def chunks_of(
    bodies: Iterable[tuple[str, dict[str, Any]]], most_requests: int, most_bytes: int
) -> Iterator[Chunk | tuple[str, int]]:
    """Cut requests into files within the limits.

    Yields:
        Chunks; in place of a request that is too large by itself, its key and size in bytes.

    Example:
        >>> [chunk.keys for chunk in chunks_of([("a", {}), ("b", {}), ("c", {})], most_requests=2, most_bytes=10**6)]
        [('a', 'b'), ('c',)]
    """
    keys: list[str] = []
    lines: list[bytes] = []
    size = 0
    for key, body in bodies:
        request = {"custom_id": key, "method": "POST", "url": ENDPOINT, "body": body}
        line = json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"
        if len(line) > most_bytes:
            yield key, len(line)
            continue
        if keys and (len(keys) == most_requests or size + len(line) > most_bytes):
            yield Chunk(tuple(keys), b"".join(lines))
            keys, lines, size = [], [], 0
        keys.append(key)
        lines.append(line)
        size += len(line)
    if keys:
        yield Chunk(tuple(keys), b"".join(lines))


@dataclass
class Harvest:
    """What the output and error files of a batch hold for the requests that were in it.

    Attributes:
        keys: The requests that were in it.
        answers: Completions by key. The first one stays.
        failures: For keys without a completion, why.
        duplicates: Lines for a key that had one of the same kind already.
        strangers: Lines for keys that were not in the batch.
        malformed: Lines that cannot be read.
        out_of_credit: What the service said, where requests failed for want of credit.
    """

    keys: frozenset[str]
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, tuple[Failure, str]] = field(default_factory=dict)
    duplicates: int = 0
    strangers: int = 0
    malformed: int = 0
    out_of_credit: str | None = None

    @property
    def missing(self) -> frozenset[str]:
        """Requests that no line speaks of."""
        return self.keys - self.answers.keys() - self.failures.keys()

    def merge(self, other: Harvest) -> None:
        """Take in what another batch holds for some of the same requests."""
        self.answers.update(other.answers)
        self.failures.update(other.failures)
        self.out_of_credit = self.out_of_credit or other.out_of_credit

    def read(self, content: bytes) -> None:
        """Take in a file; lines may come in any order, twice, broken or not at all."""
        for line in content.split(b"\n"):
            if not line.strip():
                continue
            try:
                said = json.loads(line)
                key = said["custom_id"]
                response, error = said.get("response"), said.get("error")
                if not isinstance(key, str):
                    raise TypeError(key)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                self.malformed += 1
                continue
            if key not in self.keys:
                self.strangers += 1
            elif isinstance(response, dict) and response.get("status_code") == 200:
                self._answered(key, response.get("body"))
            else:
                self._failed(key, response if isinstance(response, dict) else {}, error)

    def _answered(self, key: str, body: Any) -> None:
        try:
            answer = read_body(json.dumps(body).encode(), "application/json")
        except Unreadable as error:
            if key not in self.answers:
                self.failures[key] = Failure("malformed", charged=True), str(error)
            return
        if key in self.answers:
            self.duplicates += 1
            return
        self.answers[key] = answer
        self.failures.pop(key, None)

    def _failed(self, key: str, response: dict[str, Any], error: Any) -> None:
        if key in self.failures:
            self.duplicates += 1
        if key in self.failures or key in self.answers:
            return
        body = response.get("body")
        inner = body.get("error") if isinstance(body, dict) else None
        told = inner if isinstance(inner, dict) else error if isinstance(error, dict) else {}
        code = str(told.get("code") or told.get("type") or "")
        said = str(told.get("message") or code or "no reason given")
        status = response.get("status_code")
        status = status if isinstance(status, int) else 0
        if code in _NO_CREDIT:
            self.out_of_credit = scrub(said, 400)
        kind: FailureKind = "refused"
        if code in _UNASKED:
            kind = "timeout"
        elif status == 429:
            kind = "rate limited"
        elif status >= 500 or not response:
            kind = "server error"
        self.failures[key] = Failure(kind), f"{status or code or 'error'}: {said}"
