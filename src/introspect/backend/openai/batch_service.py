"""The Batch API's calls, each tried again where that can help, and none that would send the same batch twice."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from introspect.backend.failures import Failure
from introspect.backend.openai.batch_lines import ENDPOINT
from introspect.backend.openai.failing import sort_error
from introspect.backend.secrets import scrub
from introspect.errors import BackendError, FatalBackendError

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import Batch

__all__ = ["BatchService", "said_of"]

T = TypeVar("T")

_MARK = "introspect"  # the name under which a batch carries its digest
_LOOKED_AT = 2000  # batches listed at most when one is looked for


class BatchService:
    """Files and batches of one server.

    Args:
        client: Makes or finds the SDK's client of the running event loop.
        where: The server's address, for messages.
        model: Who is asked, for messages.
        patience: Seconds that one call is tried.
    """

    def __init__(self, client: Callable[[], AsyncOpenAI], where: str, model: str, patience: float) -> None:
        self._client, self._where, self._model, self._patience = client, where, model, patience
        self._first_wait = 0.5

    async def upload(self, digest: str, content: bytes) -> str:
        """Upload a file of requests and give its id. Sent twice, it costs nothing."""
        name = f"introspect-{digest}.jsonl"
        file = await self._steadily(
            lambda: self._client().files.create(file=(name, content, "application/jsonl"), purpose="batch")
        )
        return file.id

    async def create(self, file: str, digest: str) -> Batch:
        """Create the batch of a file. Before it is tried again, it is looked for: the first try may have got there."""

        async def once() -> Batch:
            return await self._client().batches.create(
                input_file_id=file, endpoint=ENDPOINT, completion_window="24h", metadata={_MARK: digest}
            )

        return await self._steadily(once, before_again=lambda: self.find(digest))

    async def find(self, digest: str) -> Batch | None:
        """The batch with this digest that is not in vain, if the server has one."""

        async def look() -> Batch | None:
            seen = 0
            async for batch in self._client().batches.list(limit=100):
                seen += 1
                if (batch.metadata or {}).get(_MARK) == digest and batch.status != "failed":
                    return batch
                if seen >= _LOOKED_AT:
                    break
            return None

        return await self._steadily(look)

    async def batch(self, batch: str) -> Batch:
        """How a batch stands."""
        return await self._steadily(lambda: self._client().batches.retrieve(batch))

    async def cancel(self, batch: str) -> None:
        """Ask for no more answers; those that are there are kept. One that has ended meanwhile is left alone."""
        from openai import APIStatusError

        async def once() -> None:
            try:
                await self._client().batches.cancel(batch)
            except APIStatusError as error:
                if error.status_code not in (400, 404, 409):
                    raise

        await self._steadily(once)

    async def content(self, file: str | None) -> bytes | None:
        """A file's bytes; nothing where there is no file, None where the server has deleted it."""
        from openai import NotFoundError

        if file is None:
            return b""

        async def once() -> bytes | None:
            try:
                return (await self._client().files.content(file)).content
            except NotFoundError:
                return None

        return await self._steadily(once)

    async def _steadily(
        self, call: Callable[[], Awaitable[T]], before_again: Callable[[], Awaitable[T | None]] | None = None
    ) -> T:
        from openai import NotFoundError

        until, wait = time.monotonic() + self._patience, self._first_wait
        while True:
            try:
                return await call()
            except NotFoundError as error:
                raise FatalBackendError(
                    f"{self._where} does not know what it was asked for ({scrub(error.message, 200)}): a batch or "
                    "file that was deleted, or a server without a Batch API; ask it without batches"
                ) from None
            except (IndexError, AttributeError, TypeError) as error:
                raise BackendError(f"{self._where} does not answer as a Batch API does: {error}") from error
            except Exception as error:
                reply = sort_error(error, self._where, self._model)
            # Raised out here, where no traceback holds the SDK's error, which may quote the key.
            if isinstance(reply, FatalBackendError):
                raise reply
            failure = Failure.of(reply)
            pause = max(wait, (failure.retry_after or 0.0) if failure else 0.0)
            if failure is None or not failure.transient or time.monotonic() + pause > until:
                raise BackendError(str(reply.reason))
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # spreads calls, hides nothing
            wait = min(2 * wait, 30.0)
            if before_again is not None:
                found = await before_again()
                if found is not None:
                    return found


def said_of(batch: Any) -> tuple[str, str]:
    """Code and words of why a batch was refused as a whole."""
    told = list((batch.errors.data if batch.errors else None) or ())
    code = str(told[0].code or "") if told else ""
    return code, scrub("; ".join(str(e.message) for e in told[:3]), 400) or "no reason given"
