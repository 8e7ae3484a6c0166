"""An OpenAI-compatible server on loopback that is a pure function of the request, and fails when it is told to."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

Fault = Callable[[dict[str, Any]], "str | tuple[int, dict[str, str], Any] | None"]
"""From a request's body to the fault to commit, or None: a name of `FaultyServer._commit`, or a response."""


def completion(body: dict[str, Any]) -> dict[str, Any]:
    """What the server answers, from the request alone."""
    asked = json.dumps([body["messages"], body.get("seed"), body.get("temperature")], sort_keys=True)
    share = 0.1 + 0.8 * int(hashlib.sha256(asked.encode()).hexdigest()[:8], 16) / 2**32
    mass = {"A": 0.6 * share, " A": 0.4 * share, "B": 0.9 - share if share < 0.9 else 0.0, "I": 0.1}
    listed = sorted(((p, t) for t, p in mass.items() if p > 0), reverse=True)
    top = [{"token": t, "logprob": math.log(p), "bytes": None} for p, t in listed]
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": top[0]["token"]},
        "finish_reason": "stop",
        "logprobs": None,
    }
    if body.get("logprobs"):
        choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top[: body["top_logprobs"]]}]}
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{**choice, "index": k, "message": dict(choice["message"])} for k in range(body.get("n", 1))],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
    }


class FaultyServer:
    """Runs in a thread; use as a context manager.

    Args:
        fault: Asked before each completion.
        answer: Makes the completion.
        headers: Sent with every completion.

    Attributes:
        bodies: Requests that came in, in order.
        seen_headers: Their headers.
        busy, busiest: Completions under way now, and the most there were.
        adapters: Name -> folder of each that was loaded, where the owner is "vllm".
    """

    def __init__(
        self,
        fault: Fault | None = None,
        answer: Callable[[dict[str, Any]], Any] = completion,
        headers: dict[str, str] | None = None,
        delay: float = 0.0,
        owner: str = "test",
    ) -> None:
        self.fault, self.answer, self.headers, self.delay, self.owner = fault, answer, headers or {}, delay, owner
        self.bodies: list[dict[str, Any]] = []
        self.adapters: dict[str, Path] = {}
        self.seen_headers: list[dict[str, str]] = []
        self.busy = self.busiest = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> FaultyServer:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def _run(self) -> None:
        async def main() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._stop.wait()
            server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        asyncio.run(main())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
                raw = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = head[0].split(" ")
                if method == "POST" and path.split("?")[0].endswith("/chat/completions"):
                    self.seen_headers.append({"path": path, **headers})
                    if not await self._complete(json.loads(raw), writer):
                        return
                elif path.endswith("/models"):
                    listed = [{"id": name, "owned_by": self.owner} for name in ("m", *self.adapters)]
                    self._send(writer, 200, {"object": "list", "data": listed})
                elif path.endswith("/load_lora_adapter") and self.owner == "vllm":
                    self._load(json.loads(raw), writer)
                else:
                    self._send(writer, 404, {"error": {"message": "no such route", "type": "not_found"}})
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def _load(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        """As vLLM does: by name, from a folder that it sees, and once."""
        name, folder = body["lora_name"], Path(body["lora_path"])
        if name in self.adapters or not (folder / "adapter_config.json").is_file():
            self._send(writer, 400, {"error": {"message": "has already been loaded, or is not there", "type": "bad"}})
            return
        self.adapters[name] = folder
        self._send(writer, 200, b"Success: LoRA adapter added.", {"content-type": "text/plain"})

    async def _complete(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        self.bodies.append(body)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            fault = self.fault(body) if self.fault else None
            if self.delay:
                await asyncio.sleep(self.delay)
            if isinstance(fault, tuple):
                self._send(writer, fault[0], fault[2], fault[1])
                return True
            if fault is not None:
                return await self._commit(fault, body, writer)
            self._send(writer, 200, self.answer(body), self.headers)
            return True
        finally:
            self.busy -= 1

    async def _commit(self, fault: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        """Whether the connection can be used again."""
        whole = json.dumps(self.answer(body)).encode()
        if fault == "reset":
            self._head(writer, 200, len(whole))
            writer.write(whole[: len(whole) // 2])
            await writer.drain()
            writer.transport.abort()
            return False
        if fault == "stall":
            self._head(writer, 200, len(whole))
            writer.write(whole[: len(whole) // 2])
            await writer.drain()
            await asyncio.sleep(30)
            return False
        if fault == "truncated":
            self._send(writer, 200, whole[: len(whole) // 2])
        elif fault == "html":
            self._send(writer, 200, b"<html>Bad gateway</html>", {"content-type": "text/html"})
        elif fault == "no logprobs":
            answer = self.answer(body)
            for choice in answer["choices"]:
                choice["logprobs"] = None
            self._send(writer, 200, answer)
        elif fault == "no choices":
            self._send(writer, 200, {**self.answer(body), "choices": []})
        else:
            raise AssertionError(fault)
        return True

    def _send(
        self, writer: asyncio.StreamWriter, status: int, body: Any, headers: dict[str, str] | None = None
    ) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._head(writer, status, len(raw), headers)
        writer.write(raw)

    def _head(
        self, writer: asyncio.StreamWriter, status: int, length: int, headers: dict[str, str] | None = None
    ) -> None:
        fields = {"content-type": "application/json", **(headers or {}), "content-length": str(length)}
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        writer.write("\r\n".join(lines).encode())


def error(status: int, message: str = "no", code: str | None = None, **headers: str) -> tuple[int, dict[str, str], Any]:
    """A response with an error in OpenAI's format."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, named, {"error": {"message": message, "type": "error", "param": None, "code": code}}
