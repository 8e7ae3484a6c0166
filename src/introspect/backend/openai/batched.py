"""The Batch API as another way to schedule the same requests: half the price, within a day."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from introspect.backend.cached import request_key
from introspect.backend.failures import Failure
from introspect.backend.openai.backend import OpenAIBackend
from introspect.backend.openai.batch_ledger import Entry, Ledger
from introspect.backend.openai.batch_lines import Chunk, Harvest, chunks_of
from introspect.backend.openai.batch_service import BatchService, said_of
from introspect.backend.protocol import JobRecorder
from introspect.backend.streaming import as_finished
from introspect.backend.wire import Capabilities, ModelInfo, Reply, Request
from introspect.errors import BackendError, ConfigError, FatalBackendError

if TYPE_CHECKING:
    from openai.types import Batch

__all__ = ["BatchCounts", "Batched"]

_ENDED = ("completed", "failed", "expired", "cancelled")
_DAY = 24 * 3600.0
_READINGS = 3  # of a file with broken lines
_MISSING = Failure("malformed", charged=True)
_NO_ROOM = ("token_limit_exceeded", "batch_queue_limit_exceeded")


@dataclass
class BatchCounts:
    """What went otherwise than it should have, so far.

    Attributes:
        duplicates: Lines for requests that had their answer already; the first one counts.
        missing: Requests that no line spoke of.
        strangers: Lines for requests that were not in the batch.
        malformed: Lines that could not be read.
        adopted: Batches of an earlier run that were waited for instead of being sent again.
    """

    duplicates: int = 0
    missing: int = 0
    strangers: int = 0
    malformed: int = 0
    adopted: int = 0


class Batched:
    """A backend that sends the requests of an `OpenAIBackend` through the Batch API.

    Put `Cached` right around it, and nothing in between: wrappers that ask one request at a time would make a batch of
    each. A request's custom id is its cache key. What was sent is written down before anything waits: after a kill, the
    same requests are not sent again, but looked for in the batches that hold them. Answers may come in any order, twice
    or not at all; those of expired and cancelled batches are harvested too. Requests that failed in a way that may pass
    (expired, rate limited, no line at all) go into a new batch, up to `rounds` times.

    Args:
        backend: Whose server and model are asked.
        jobs: Where batches are written down; one recorder per model.
        most_requests: Requests in a batch at most. OpenAI takes 50,000.
        most_bytes: Bytes in a batch's file at most. OpenAI takes 200 MB.
        concurrency: Batches under way at most.
        rounds: How often a request is sent at most.
        poll: Seconds between two looks at a batch, at first and at most.
        deadline: Seconds after which a batch is cancelled, and what it has answered is taken.
        patience: Seconds that one call to the server is tried.

    Attributes:
        counts: What went otherwise than it should have.

    Raises:
        ConfigError: A number is out of range.
        BackendError: What was written down cannot be read.
    """

    def __init__(
        self,
        backend: OpenAIBackend,
        jobs: JobRecorder,
        *,
        most_requests: int = 50_000,
        most_bytes: int = 190_000_000,
        concurrency: int = 4,
        rounds: int = 3,
        poll: tuple[float, float] = (5.0, 60.0),
        deadline: float = 1.1 * _DAY,
        patience: float = 600.0,
    ) -> None:
        if min(most_requests, most_bytes, concurrency, rounds) < 1 or not min(*poll, deadline, patience) > 0:
            raise ConfigError(
                "most_requests, most_bytes, concurrency, rounds, poll, deadline and patience are positive"
            )
        self.inner = backend
        self.counts = BatchCounts()
        self._most_requests, self._most_bytes, self._concurrency = most_requests, most_bytes, concurrency
        self._rounds, self._poll, self._deadline = rounds, poll, deadline
        self._service = BatchService(backend.client, str(backend.address), backend.model, patience)
        self._ledger = Ledger(jobs)
        self._flying = 0
        self._done: dict[str, tuple[int, int]] = {}

    @property
    def info(self) -> ModelInfo:
        """The inner backend's identity: how requests are scheduled does not make it another model."""
        return self.inner.info

    async def probe(self) -> Capabilities:
        """The inner backend's capabilities, seen by asking without batches."""
        return await self.inner.probe()

    async def aclose(self) -> None:
        """Close the inner backend. Batches under way go on at the server, and are found again."""
        await self.inner.aclose()

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        """Yield ``(index, reply)`` as batches end.

        Raises:
            FatalBackendError: Bad key, no permission, out of credit, no Batch API.
            BackendError: The server does not answer for longer than `patience`. The batches go on, and the next run
                takes their answers.
        """
        wanted: dict[str, list[int]] = {}
        bodies: dict[str, dict[str, Any]] = {}
        for index, request in enumerate(requests):
            key = request_key(self.info, request)
            if key in wanted:
                wanted[key].append(index)
                continue
            wanted[key] = [index]
            body = await self.inner.body(request)
            if isinstance(body, Reply):
                yield index, body
            else:
                bodies[key] = body

        adopted, left = self._adopted(bodies), self._rounds + 1
        failures: dict[str, Reply] = {}
        works = adopted
        open_keys = dict.fromkeys(bodies)
        while open_keys and left:
            left -= 1
            if works is not adopted:
                works = list(self._begun(open_keys, bodies, failures))
            final = works is not adopted
            doomed: FatalBackendError | None = None
            async with aclosing(as_finished(self._run, works, self._concurrency)) as finished:
                async for place, harvest in finished:
                    told: dict[str, JsonValue] = {"url": self.inner.address.url, "batch": works[place].entry.batch}
                    for key in [key for key in harvest.answers if key in open_keys]:
                        del open_keys[key]
                        reply = await self.inner.read(harvest.answers[key], requests[wanted[key][0]], told)
                        for index in wanted[key]:
                            yield index, reply
                    for key in [key for key in harvest.keys if key in open_keys]:
                        failures[key] = _failed(key, harvest, told)
                    if harvest.out_of_credit is not None:
                        doomed = FatalBackendError(
                            f"out of credit at {self.inner.address}: {harvest.out_of_credit}. Add credit there, then "
                            "run again: what was answered is kept"
                        )
            works = []
            if not final:
                continue  # what failed in an earlier run's batches is sent once more, and all that was never sent
            if doomed is not None:
                raise doomed
            for key in [key for key in open_keys if not left or not _may_pass(failures[key])]:
                del open_keys[key]
                for index in wanted[key]:
                    yield index, failures[key]

    def _adopted(self, bodies: Iterable[str]) -> list[_Work]:
        """Batches of earlier runs that hold any of these requests; the latest that holds it is asked for each."""
        left = set(bodies)
        works = []
        for entry in self._ledger.covering(left):
            if not left.isdisjoint(entry.keys):
                left.difference_update(entry.keys)
                works.append(_Work(entry, None))
        self.counts.adopted += len(works)
        return works

    def _begun(
        self, keys: Iterable[str], bodies: Mapping[str, dict[str, Any]], failures: dict[str, Reply]
    ) -> Iterator[_Work]:
        for chunk in chunks_of([(key, bodies[key]) for key in keys], self._most_requests, self._most_bytes):
            if isinstance(chunk, Chunk):
                yield _Work(self._ledger.begin(chunk), chunk)
            else:
                key, size = chunk
                failures[key] = Failure("unable").reply(
                    f"the request has {size:,} bytes, and a batch takes {self._most_bytes:,}"
                )

    async def _run(self, work: _Work) -> Harvest:
        entry = work.entry
        if entry.batch is None:
            if work.chunk is None:
                # Killed before the batch's id was written down: the batch may be there all the same.
                batch = await self._service.find(entry.digest)
                if batch is None:
                    return self._void(entry)
            else:
                entry.file = await self._service.upload(entry.digest, work.chunk.content)
                self._ledger.save()
                batch = await self._service.create(entry.file, entry.digest)
            entry.batch = batch.id
            self._ledger.save()
        self._flying += 1
        try:
            batch = await self._wait(entry, entry.batch)
        finally:
            self._flying -= 1
        if batch.status == "failed":
            return await self._refused(work, batch)
        return await self._harvest(entry, batch)

    def _void(self, entry: Entry) -> Harvest:
        entry.ended = "failed"
        self._ledger.save()
        return Harvest(frozenset(entry.keys))

    async def _wait(self, entry: Entry, name: str) -> Batch:
        pause, cancelled = self._poll[0], False
        while True:
            batch = await self._service.batch(name)
            if (counts := batch.request_counts) is not None:
                self._done[name] = (counts.completed + counts.failed, counts.total)
                self._ledger.progress(*map(sum, zip(*self._done.values(), strict=True)))
            if batch.status in _ENDED:
                entry.ended = batch.status
                self._ledger.save()
                return batch
            age = time.time() - batch.created_at
            if age > 2 * self._deadline:
                raise BackendError(
                    f"batch {name} at {self.inner.address} is {age / 3600:.1f} hours old and does not end, though it "
                    "was cancelled. Run again to look for its answers once more"
                )
            if age > self._deadline and not cancelled:
                await self._service.cancel(name)
                cancelled = True
            await asyncio.sleep(pause)
            pause = min(1.5 * pause, self._poll[1])

    async def _harvest(self, entry: Entry, batch: Batch) -> Harvest:
        for _ in range(_READINGS):
            harvest = Harvest(frozenset(entry.keys))
            for file in (batch.output_file_id, batch.error_file_id):
                harvest.read(await self._service.content(file) or b"")
            if not harvest.malformed:
                break  # else a line may have been broken on its way
        counts = self.counts
        counts.duplicates += harvest.duplicates
        counts.strangers += harvest.strangers
        counts.malformed += harvest.malformed
        counts.missing += len(harvest.missing)
        return harvest

    async def _refused(self, work: _Work, batch: Batch) -> Harvest:
        """A batch that the service refused as a whole; without room for it, it is sent again later, or in halves."""
        code, said = said_of(batch)
        harvest = Harvest(frozenset(work.entry.keys))
        if code == "model_not_found":
            raise FatalBackendError(f"{self.inner.address} knows no model {self.inner.model!r}: {said}")
        if code in _NO_ROOM and work.chunk is not None:
            if self._flying:
                while self._flying:
                    await asyncio.sleep(self._poll[0])
                return await self._run(_Work(self._ledger.begin(work.chunk), work.chunk))
            if len(work.chunk.keys) > 1:
                for half in work.chunk.halves():
                    harvest.merge(await self._run(_Work(self._ledger.begin(half), half)))
                return harvest
        for key in harvest.keys:
            harvest.failures[key] = Failure("refused"), f"the batch was refused ({code or 'no code'}): {said}"
        return harvest


@dataclass(frozen=True)
class _Work:
    """A batch to see through; its chunk where it is to be sent first."""

    entry: Entry
    chunk: Chunk | None


def _failed(key: str, harvest: Harvest, told: Mapping[str, JsonValue]) -> Reply:
    failure, said = harvest.failures.get(key, (_MISSING, "the batch ended without a line for this request"))
    return failure.reply(said, **told)


def _may_pass(reply: Reply) -> bool:
    failure = Failure.of(reply)
    return failure is not None and failure.transient
