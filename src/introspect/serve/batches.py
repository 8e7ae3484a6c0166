"""Batches: many chat requests from a file, answered into a file."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import anyio.to_thread

from introspect.serve.chat import Chat
from introspect.serve.config import ServeConfig
from introspect.serve.disk import read_states, write_state
from introspect.serve.errors import ApiError, bad_request, error_body, not_found
from introspect.serve.files import FileShelf, json_lines, plain_json
from introspect.serve.naming import new_id
from introspect.serve.requests import BatchBody, parsed

__all__ = ["BatchRunner"]

_ENDPOINT = "/v1/chat/completions"
_AT_ONCE = 64
_DAY = 24 * 3600
_TOLD = 20
_LATER = 5.0  # seconds until a disk that took nothing is tried again
_FINISHED = ("failed", "completed", "expired", "cancelled")
_log = logging.getLogger("introspect.serve")

Line = tuple[str, Any]  # custom id and body


class BatchRunner:
    """All batches of a server; one runs at a time.

    Answers are appended to a file as they come, so that a batch that was interrupted goes on with what is missing.

    Args:
        folder: Where they lie.
        files: Inputs come from here, outputs go there.
        chat: Who answers.
        config: Limits.
    """

    def __init__(self, folder: Path, files: FileShelf, chat: Chat, config: ServeConfig) -> None:
        self._folder, self._files, self._chat, self._config = folder, files, chat, config
        folder.mkdir(parents=True, exist_ok=True)
        self._batches = {state["id"]: state for _, state in read_states(folder, "*.json")}
        self._wake = asyncio.Event()

    def all(self) -> list[dict[str, Any]]:
        """Every batch, oldest first."""
        return [self._body(state) for state in self._batches.values()]

    def get(self, batch_id: str) -> dict[str, Any]:
        """OpenAI's batch object.

        Raises:
            ApiError: There is none of this id.
        """
        if batch_id not in self._batches:
            raise not_found("batch", batch_id, "batch_id")
        return self._body(self._batches[batch_id])

    async def create(self, raw: object) -> dict[str, Any]:
        """Queue a batch.

        Raises:
            ApiError: The request is not one, or names a file that is not there.
        """
        body = parsed(BatchBody, raw)
        if body.endpoint != _ENDPOINT:
            raise bad_request(f"endpoint is {_ENDPOINT}, got {body.endpoint[:100]!r}", "endpoint")
        self._files.input(body.input_file_id, "batch", "input_file_id")
        if len(self._batches) >= self._config.limits.batches:
            raise ApiError(429, f"there are {len(self._batches)} batches already, this server's limit", "batch_limit")
        now = int(time.time())
        state = {
            "id": new_id("batch_"),
            "object": "batch",
            "endpoint": body.endpoint,
            "input_file_id": body.input_file_id,
            "completion_window": body.completion_window,
            "status": "validating",
            "created_at": now,
            "expires_at": now + _DAY,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": body.metadata,
            "order": time.time_ns(),
        }
        self._save(state)
        self._wake.set()
        return self._body(state)

    async def cancel(self, batch_id: str) -> dict[str, Any]:
        """Ask no further request of a batch; what was answered is kept.

        Raises:
            ApiError: There is none, or it is finished.
        """
        state = self.get(batch_id)
        if state["status"] in _FINISHED:
            raise ApiError(
                409, f"Cannot cancel a batch with status '{state['status']}'.", "invalid_batch_state", "batch_id"
            )
        if state["status"] != "cancelling":
            self._update(batch_id, status="cancelling", cancelling_at=int(time.time()))
            self._wake.set()
        return self.get(batch_id)

    async def work(self) -> None:
        """Run what is queued, for as long as the server runs."""
        while True:
            state = next((s for s in self._batches.values() if s["status"] not in _FINISHED), None)
            if state is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            try:
                await self._run(state["id"])
            except Exception as error:  # a full disk or the like: this batch ends, the next may do
                _log.exception("batch %s", state["id"])
                told = {"code": "server_error", "message": str(error), "param": None, "line": None}
                try:
                    self._fail(state["id"], [told])
                except OSError:  # not even that can be written down: later
                    await asyncio.sleep(_LATER)

    async def _run(self, batch_id: str) -> None:
        state = self._batches[batch_id]
        try:
            kept = self._files.get(state["input_file_id"])
            lines, errors = await anyio.to_thread.run_sync(self._lines, self._files.path(kept))
        except (ApiError, OSError) as error:
            lines, errors = [], [{"code": "invalid_file", "message": str(error), "param": None, "line": None}]
        if errors:
            self._fail(batch_id, errors)
            return
        counts = {"total": len(lines), "completed": 0, "failed": 0}
        done = await anyio.to_thread.run_sync(self._recover, batch_id, counts)
        if state["status"] != "cancelling":
            self._update(batch_id, status="in_progress", in_progress_at=int(time.time()), request_counts=counts)
        todo = iter([line for line in lines if line[0] not in done])
        with self._partial(batch_id, "output").open("ab") as output, self._partial(batch_id, "error").open("ab") as bad:

            async def worker() -> None:
                for custom_id, body in todo:
                    if self._batches[batch_id]["status"] == "cancelling":
                        return
                    status, answer = await self._answer(body)
                    failed = status != 200
                    line = {
                        "id": new_id("batch_req_"),
                        "custom_id": custom_id,
                        "response": {"status_code": status, "request_id": new_id("req_"), "body": answer},
                        "error": None,
                    }
                    file = bad if failed else output
                    file.write(json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n")
                    file.flush()
                    counts["failed" if failed else "completed"] += 1

            await _together([worker() for _ in range(min(_AT_ONCE, len(lines)))])
        await anyio.to_thread.run_sync(self._finish, batch_id, counts)

    async def _answer(self, body: Any) -> tuple[int, dict[str, Any]]:
        try:
            if isinstance(body, dict) and body.get("stream"):
                raise bad_request("a batch cannot stream", "stream")
            return 200, await self._chat.complete(body)
        except ApiError as error:
            return error.status, error.body
        except Exception as error:  # one request's failure is that request's
            _log.exception("a batch request failed")
            return 500, error_body(500, f"the model failed: {type(error).__name__}", "server_error")

    def _finish(self, batch_id: str, counts: dict[str, int]) -> None:
        cancelled = self._batches[batch_id]["status"] == "cancelling"
        now = int(time.time())
        if not cancelled:
            self._update(batch_id, status="finalizing", finalizing_at=now, request_counts=counts)
        found: dict[str, Any] = {}
        for kind in ("output", "error"):
            path = self._partial(batch_id, kind)
            if path.exists() and path.stat().st_size:
                found[f"{kind}_file_id"] = self._files.write(path, f"{batch_id}_{kind}.jsonl", "batch_output").id
            else:
                path.unlink(missing_ok=True)
        when = "cancelled" if cancelled else "completed"
        self._update(batch_id, **found, status=when, **{f"{when}_at": now}, request_counts=counts)

    def _fail(self, batch_id: str, errors: list[dict[str, Any]]) -> None:
        told = {"object": "list", "data": errors[:_TOLD]}
        self._update(batch_id, status="failed", failed_at=int(time.time()), errors=told)

    def _lines(self, path: Path) -> tuple[list[Line], list[dict[str, Any]]]:
        lines: list[Line] = []
        errors: list[dict[str, Any]] = []
        known: set[str] = set()

        def wrong(code: str, message: str, number: int, param: str | None = None) -> None:
            errors.append({"code": code, "message": message, "line": number, "param": param})

        with path.open("rb") as file:
            for number, text in json_lines(file, self._config.limits):
                try:
                    line = plain_json(text)
                except ValueError:
                    line = None
                if not isinstance(line, dict):
                    wrong("invalid_json_line", "This line is not parseable as valid JSON.", number)
                    continue
                custom_id = line.get("custom_id")
                if not isinstance(custom_id, str) or not custom_id:
                    wrong("missing_required_parameter", "custom_id must be a text.", number, "custom_id")
                elif custom_id in known:
                    wrong("duplicate_custom_id", f"custom_id {custom_id[:100]!r} came before.", number, "custom_id")
                elif line.get("method") != "POST":
                    wrong("invalid_method", "method must be POST.", number, "method")
                elif line.get("url") != _ENDPOINT:
                    wrong("invalid_url", f"url must be {_ENDPOINT}, the batch's endpoint.", number, "url")
                elif not isinstance(line.get("body"), dict):
                    wrong("missing_required_parameter", "body must be an object.", number, "body")
                else:
                    known.add(custom_id)
                    lines.append((custom_id, line["body"]))
        return lines, errors

    def _recover(self, batch_id: str, counts: dict[str, int]) -> set[str]:
        """What an interrupted run has answered; a line that it did not finish is cut off."""
        done: set[str] = set()
        for kind, counter in (("output", "completed"), ("error", "failed")):
            path = self._partial(batch_id, kind)
            if not path.exists():
                continue
            whole = 0
            with path.open("rb") as file:
                for text in file:
                    if not text.endswith(b"\n"):
                        break  # also where only the end of the line is lost: the next one would be joined to it
                    try:
                        done.add(json.loads(text)["custom_id"])
                    except ValueError:
                        break
                    whole += len(text)
                    counts[counter] += 1
            with path.open("rb+") as file:
                file.truncate(whole)
        return done

    def _partial(self, batch_id: str, kind: str) -> Path:
        return self._folder / f"{batch_id}.{kind}.partial"

    def _update(self, batch_id: str, **changes: Any) -> None:
        self._save({**self._batches[batch_id], **changes})

    def _save(self, state: dict[str, Any]) -> None:
        write_state(self._folder / f"{state['id']}.json", state)
        self._batches[state["id"]] = state

    @staticmethod
    def _body(state: dict[str, Any]) -> dict[str, Any]:
        shown = {name: value for name, value in state.items() if name != "order"}
        return {**shown, "request_counts": dict(state["request_counts"])}


async def _together(workers: list[Any]) -> None:
    tasks = [asyncio.ensure_future(worker) for worker in workers]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
