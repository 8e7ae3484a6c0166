"""A backend that writes down every request and reply."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from introspect.backend.protocol import ModelBackend
from introspect.backend.secrets import scrub
from introspect.backend.streaming import closable
from introspect.backend.wire import Reply, Request
from introspect.backend.wrapping import Wrapper
from introspect.errors import BackendError

__all__ = ["Recorded"]


class Recorded(Wrapper):
    """A backend around a backend that appends each request and its reply to a JSON Lines file, without keys.

    A line is ``{"time", "model", "request", "reply"}``, unset fields left out; each is written when the reply is there.
    Around a provider's own backend it shows every attempt, failed ones included.

    Args:
        backend: Who is asked.
        path: Appended to; made where it is not there.

    Raises:
        BackendError: The file cannot be written to.

    Example:
        >>> import tempfile
        >>> from introspect.backend import FunctionBackend, Message, ask
        >>> path = Path(tempfile.mkdtemp()) / "calls.jsonl"
        >>> model = Recorded(FunctionBackend(lambda request: "A", name="a", version="1"), path)
        >>> _ = ask(model, [Request(messages=(Message(role="user", content="A or B?"),))])
        >>> json.loads(path.read_text())["reply"]["text"]
        'A'
    """

    def __init__(self, backend: ModelBackend, path: Path | str) -> None:
        super().__init__(backend)
        self.path = Path(path)
        self._lock = threading.Lock()
        try:
            self._file = self.path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise BackendError(f"cannot record to {self.path}: {error.strerror}. Give another path") from None

    async def answer(self, asked: Sequence[Request]) -> list[Reply]:
        """The inner backend's replies, written down."""
        replies = await self.ask_inner(asked)
        for request, reply in zip(asked, replies, strict=True):
            self._write(request, reply)
        return replies

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        """Yield ``(index, reply)`` as replies come; a local model still gets all requests at once."""
        if self._answerer is not None:
            async with aclosing(closable(super().generate(requests))) as replies:
                async for pair in replies:
                    yield pair
            return
        async with aclosing(closable(self.inner.generate(requests))) as replies:
            async for index, reply in replies:
                self._write(requests[index], reply)
                yield index, reply

    async def aclose(self) -> None:
        """Close the file and the inner backend."""
        with self._lock:
            self._file.close()
        await super().aclose()

    def _write(self, request: Request, reply: Reply) -> None:
        line = {
            "time": round(time.time(), 3),
            "model": str(self.info.ref),
            "request": request.model_dump(mode="json", exclude_defaults=True),
            "reply": reply.model_dump(mode="json", exclude_defaults=True),
        }
        text = json.dumps(_clean(line), ensure_ascii=False, separators=(",", ":"))
        try:
            with self._lock:
                if self._file.closed:  # asked again after aclose, which is allowed
                    self._file = self.path.open("a", encoding="utf-8", buffering=1)
                self._file.write(text + "\n")
        except OSError as error:
            raise BackendError(f"cannot record to {self.path}: {error.strerror}") from None


def _clean(value: Any) -> Any:
    """Each string without keys: what is done to the finished line could break its JSON."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, dict):
        return {key: _clean(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(part) for part in value]
    return value
