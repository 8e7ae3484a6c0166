"""A Batch API on loopback: pure in its answers, and spoilt in its files and manners as it is told to."""

from __future__ import annotations

import email
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from faulty_server import completion

from introspect.backend import Cached, Message, ModelRef, Reply, Request, ask
from introspect.backend.openai import Batched, OpenAIBackend
from introspect.store import Store
from introspect.training import StoredJobs, StoredReplies

FAST = {"poll": (0.01, 0.02), "patience": 20.0}

Lines = list[dict[str, Any]]


def honest(server: BatchServer, lines: Lines) -> tuple[list[Any], list[Any], str]:
    """Every request answered, in order: output lines, error lines, final status."""
    return [answered(line) for line in lines], [], "completed"


def answered(line: dict[str, Any]) -> dict[str, Any]:
    response = {"status_code": 200, "request_id": "r", "body": completion(line["body"])}
    return {"id": "b", "custom_id": line["custom_id"], "response": response, "error": None}


def refused(line: dict[str, Any], status: int, code: str, message: str = "no") -> dict[str, Any]:
    body = {"error": {"code": code, "message": message, "type": code, "param": None}}
    response = {"status_code": status, "request_id": "r", "body": body}
    return {"id": "b", "custom_id": line["custom_id"], "response": response, "error": None}


def unasked(line: dict[str, Any], code: str = "batch_expired") -> dict[str, Any]:
    return {"id": "b", "custom_id": line["custom_id"], "response": None, "error": {"code": code, "message": "too late"}}


class BatchServer:
    """Runs in threads; use as a context manager.

    Args:
        results: Makes what a batch ends with. A line that is bytes is written as it is.
        polls: Looks at a batch until it has ended.
        refuse: From a new batch's lines to the (code, message) that it is refused with, or None.
        fault: Asked before each call with method and path: a response (status, headers, body), "reset" before, "lost"
            after the call was carried out, or None.

    Attributes:
        sent: Custom ids of every line of every batch that was created and not refused, in order.
        uploads, created, calls: What was asked of it.
    """

    def __init__(self, results=honest, polls: int = 1, refuse=None, fault=None) -> None:
        self.results: Callable[[BatchServer, Lines], tuple[list[Any], list[Any], str]] = results
        self.polls, self.refuse, self.fault = polls, refuse, fault
        self.files: dict[str, bytes] = {}
        self.names: dict[str, str] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.sent: list[str] = []
        self.calls: list[tuple[str, str]] = []
        self.keys: list[str] = []
        self.under_way = self.most_under_way = 0
        self._looks: dict[str, int] = {}
        self._lock = threading.RLock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None: ...

            def do_GET(self) -> None:
                self.handle_call("GET")

            def do_POST(self) -> None:
                self.handle_call("POST")

            def handle_call(self, method: str) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                path = self.path.partition("?")[0].removeprefix("/v1")
                server.keys.append(self.headers.get("authorization", ""))
                server.calls.append((method, path))
                fault = server.fault(method, path) if server.fault else None
                if fault == "reset":
                    self.close_connection = True
                    return
                if isinstance(fault, tuple):
                    status, headers, answer = fault
                else:
                    status, headers = 200, {}
                    try:
                        with server._lock:
                            answer = server.carry_out(method, path, self.headers, body)
                    except KeyError as error:
                        status, answer = 404, {"error": {"message": f"no {error}", "code": "not_found"}}
                if fault == "lost":
                    self.close_connection = True
                    return
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self) -> BatchServer:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    @property
    def created(self) -> int:
        return len(self.batches)

    def carry_out(self, method: str, path: str, headers: Any, body: bytes) -> Any:
        parts = path.strip("/").split("/")
        if (method, path) == ("POST", "/files"):
            return self._upload(headers, body)
        if method == "GET" and parts[0] == "files" and parts[-1] == "content":
            return self.files[parts[1]]
        if (method, path) == ("POST", "/batches"):
            return self._create(json.loads(body))
        if (method, path) == ("GET", "/batches"):
            rows = list(reversed(self.batches.values()))
            return {"object": "list", "data": rows, "has_more": False, "first_id": None, "last_id": None}
        if parts[0] == "batches" and parts[-1] == "cancel":
            batch = self.batches[parts[1]]
            batch["status"] = "cancelling"
            return batch
        if parts[0] == "batches" and len(parts) == 2:
            return self._look(parts[1])
        raise KeyError(path)

    def _upload(self, headers: Any, body: bytes) -> dict[str, Any]:
        kind = headers["content-type"]
        message = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        fields = {part.get_param("name", header="content-disposition"): part for part in message.get_payload()}
        assert fields["purpose"].get_payload() == "batch"
        name = f"file-{len(self.files)}"
        self.files[name] = fields["file"].get_payload(decode=True)
        self.names[name] = fields["file"].get_filename()
        return {
            "id": name, "object": "file", "bytes": len(self.files[name]), "created_at": 1,
            "filename": self.names[name], "purpose": "batch", "status": "processed",
        }  # fmt: skip

    def _lines(self, file: str) -> Lines:
        return [json.loads(line) for line in self.files[file].splitlines()]

    def _create(self, asked: dict[str, Any]) -> dict[str, Any]:
        assert asked["endpoint"] == "/v1/chat/completions"
        lines = self._lines(asked["input_file_id"])
        assert len({line["custom_id"] for line in lines}) == len(lines)
        assert all(line["method"] == "POST" and line["url"] == asked["endpoint"] for line in lines)
        name = f"batch_{len(self.batches)}"
        batch = {
            "id": name, "object": "batch", "endpoint": asked["endpoint"], "input_file_id": asked["input_file_id"],
            "completion_window": "24h", "status": "in_progress", "created_at": int(time.time()),
            "metadata": asked.get("metadata"), "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        }  # fmt: skip
        told = self.refuse(self, lines) if self.refuse else None
        if told is not None:
            errors = {"object": "list", "data": [{"code": told[0], "message": told[1], "line": None, "param": None}]}
            batch.update(status="failed", errors=errors)
        else:
            self.sent += [line["custom_id"] for line in lines]
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        self.batches[name] = batch
        self._looks[name] = 0
        return batch

    def _look(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        self._looks[name] += 1
        if batch["status"] in ("in_progress", "cancelling") and self._looks[name] >= self.polls:
            lines = self._lines(batch["input_file_id"])
            output, errors, status = self.results(self, lines)
            if batch["status"] == "cancelling":
                status = "cancelled"
            for kind, rows in (("output", output), ("error", errors)):
                if rows:
                    file = f"file-{len(self.files)}"
                    self.files[file] = b"".join(
                        (row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows
                    )
                    batch[f"{kind}_file_id"] = file
            counts = {"total": len(lines), "completed": len(output), "failed": len(errors)}
            batch.update(status=status, request_counts=counts)
            self.under_way -= 1
        return batch


def questions(n: int, **fields: Any) -> list[Request]:
    return [
        Request(messages=(Message(role="user", content=f"Number {i}: A or B?"),), answers=("A", "B"), **fields)
        for i in range(n)
    ]


def run_forty_questions(url: str, folder: str) -> list[Reply]:
    """Through batches of ten, kept in a study file."""
    backend = OpenAIBackend(ModelRef(provider="openai", model="m", location=url), key="sk-planted-0123456789")
    backend._kind.replace("plain")
    with Store.open(Path(folder) / "study.db") as store:
        jobs = StoredJobs(store, "batches", Path(folder) / "jobs")
        model = Cached(Batched(backend, jobs, most_requests=10, concurrency=2, **FAST), StoredReplies(store))
        return ask(model, questions(40))
