"""The server as an ASGI application: routes, who may come in, and how much they may bring."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from introspect.backend.secrets import scrub
from introspect.errors import IntrospectError
from introspect.serve.batches import BatchRunner
from introspect.serve.chat import Chat, sse
from introspect.serve.config import ServeConfig
from introspect.serve.disk import held
from introspect.serve.errors import ApiError, bad_request, error_body
from introspect.serve.files import FileShelf, Kept, plain_json
from introspect.serve.jobs import Job, JobQueue
from introspect.serve.models import ModelShelf, Served

__all__ = ["make_app"]

_FORM_ROOM = 64 * 1024  # what a multipart form needs around its file
_log = logging.getLogger("introspect.serve")


class _State:
    """Everything a running server holds."""

    def __init__(self, config: ServeConfig) -> None:
        base = Served(config.name, config.model, int(time.time()))
        self.config = config
        self.models = ModelShelf(base, config.parallel, config.limits.pending)
        self.files = FileShelf(config.folder / "files", config.limits)
        self.chat = Chat(self.models, config)
        self.jobs = JobQueue(config.folder / "jobs", self.files, self.models, config)
        self.batches = BatchRunner(config.folder / "batches", self.files, self.chat, config)


def make_app(config: ServeConfig) -> ASGIApp:
    """The application for any ASGI server; `serve` runs it on uvicorn.

    Its folder is held from start-up to shutdown; jobs and batches run in between.

    Args:
        config: What is served, and where.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with held(config.folder):
            state = app.state.introspect = _State(config)
            await state.models.open(config.name)  # a model that cannot be opened stops the server, not a request
            tasks = [asyncio.create_task(state.jobs.work()), asyncio.create_task(state.batches.work())]
            try:
                yield
            finally:
                state.jobs.halt()
                tasks[1].cancel()
                # A trainer that has no steps to stop at must not hold the process for ever: what it writes counts
                # only once it is whole.
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
                await state.models.aclose()

    routes = [
        Route("/health", _health),
        Route("/v1/models", _models),
        Route("/v1/models/{model:path}", _model, methods=["GET", "DELETE"]),
        Route("/v1/chat/completions", _chat, methods=["POST"]),
        Route("/v1/files", _files, methods=["GET", "POST"]),
        Route("/v1/files/{file_id}", _file, methods=["GET", "DELETE"]),
        Route("/v1/files/{file_id}/content", _content),
        Route("/v1/fine_tuning/jobs", _jobs, methods=["GET", "POST"]),
        Route("/v1/fine_tuning/jobs/{job_id}", _job),
        Route("/v1/fine_tuning/jobs/{job_id}/cancel", _cancel_job, methods=["POST"]),
        Route("/v1/fine_tuning/jobs/{job_id}/events", _events),
        Route("/v1/fine_tuning/jobs/{job_id}/checkpoints", _checkpoints),
        Route("/v1/batches", _batches, methods=["GET", "POST"]),
        Route("/v1/batches/{batch_id}", _batch),
        Route("/v1/batches/{batch_id}/cancel", _cancel_batch, methods=["POST"]),
    ]
    handlers: dict[Any, Callable[[Request, Any], Awaitable[Response]]] = {
        ApiError: _told,
        HTTPException: _http_error,
        IntrospectError: _model_error,
        ClientDisconnect: _gone,
        Exception: _crash,
    }
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    return _Gate(app, config)


class _Gate:
    """Before anything is read: the key, where the request comes from, and its size."""

    def __init__(self, app: ASGIApp, config: ServeConfig) -> None:
        self._app, self._config = app, config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        refused = self._refusal(headers) or self._too_long(scope, headers)
        if refused is not None:
            await JSONResponse(refused.body, refused.status)(scope, receive, send)
            return
        limit, seen = self._limit(scope), 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise ApiError(413, f"the request has more than {limit} bytes", "request_too_large")
            return message

        await self._app(scope, counted, send)

    def _refusal(self, headers: dict[bytes, bytes]) -> ApiError | None:
        key = self._config.key
        if key is not None:
            scheme, _, given = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
            if scheme.lower() != "bearer" or not key.matches(given.strip()):
                return ApiError(401, "Incorrect API key provided, or none.", "invalid_api_key")
            return None
        # Without a key, a web page in a browser on this machine must not be able to come in: neither under a name
        # that it made point here, nor by a request from its own origin.
        host = headers.get(b"host", b"localhost").decode("latin-1")
        origin = headers.get(b"origin", b"").decode("latin-1")
        if not _loopback(host) or (origin and not _loopback(origin.partition("://")[2])):
            return ApiError(403, "without a key this server answers programs on its own machine only", "forbidden")
        return None

    def _limit(self, scope: Scope) -> int:
        limits = self._config.limits
        upload = scope["path"] == "/v1/files" and scope["method"] == "POST"
        return limits.file + _FORM_ROOM if upload else limits.body

    def _too_long(self, scope: Scope, headers: dict[bytes, bytes]) -> ApiError | None:
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 18 or int(length) > self._limit(scope):
            return ApiError(413, f"the request has more than {self._limit(scope)} bytes", "request_too_large")
        return None


def _loopback(host: str) -> bool:
    name = host[1:].partition("]")[0] if host.startswith("[") else host.rpartition(":")[0] or host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _state(request: Request) -> _State:
    state: _State = request.app.state.introspect
    return state


async def _json(request: Request) -> Any:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, f"expected application/json, got {kind[:100]!r}", "unsupported_media_type")
    body = await request.body()
    try:
        value = plain_json(body)
    except ValueError as error:
        raise bad_request(f"We could not parse the JSON body of your request: {error}", None, "invalid_json") from None
    if not isinstance(value, dict):
        raise bad_request("the JSON body must be an object", None, "invalid_json")
    return value


async def _health(request: Request) -> Response:
    del request
    return JSONResponse({"status": "ok"})


async def _models(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": [model.body for model in _state(request).models.all()]})


async def _model(request: Request) -> Response:
    state, name = _state(request), request.path_params["model"]
    if request.method == "DELETE":
        await state.jobs.withdraw(name)
        return JSONResponse({"id": name, "object": "model", "deleted": True})
    return JSONResponse(state.models.get(name).body)


async def _chat(request: Request) -> Response:
    state, body = _state(request), await _json(request)
    if body.get("stream") is True:
        chunks = await state.chat.stream(body)
        return StreamingResponse(_sent(chunks), media_type="text/event-stream")
    return JSONResponse(await state.chat.complete(body))


async def _sent(chunks: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    try:
        async for chunk in chunks:
            yield sse(chunk)
    except ApiError as error:
        yield sse(error.body)
    except Exception:
        _log.exception("a stream broke")
        yield sse(error_body(500, "the model failed", "server_error"))
    yield "data: [DONE]\n\n"


async def _files(request: Request) -> Response:
    state = _state(request)
    if request.method == "POST":
        return JSONResponse((await _upload(request)).body)
    files = state.files.all()
    purpose = request.query_params.get("purpose")
    if purpose is not None:
        files = [kept for kept in files if kept.purpose == purpose]
    if _choice(request, "order", ("asc", "desc"), "desc") == "desc":
        files.reverse()
    bodies, more = _page(request, [kept.body for kept in files], 10_000, 10_000)
    return JSONResponse(_listed(bodies, more))


async def _upload(request: Request) -> Kept:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise ApiError(415, f"expected multipart/form-data, got {kind[:100]!r}", "unsupported_media_type")
    try:
        async with request.form(max_files=1, max_fields=8, max_part_size=16 * 1024) as form:
            unknown = sorted(set(form) - {"file", "purpose", "expires_after[anchor]", "expires_after[seconds]"})
            if unknown:
                raise ApiError(400, f"Unrecognized request argument supplied: {unknown[0][:100]}", "unknown_parameter")
            file, purpose = form.get("file"), form.get("purpose")
            if not isinstance(file, UploadFile):
                raise bad_request("Missing required parameter: 'file'.", "file", "missing_required_parameter")
            if not isinstance(purpose, str):
                raise bad_request("Missing required parameter: 'purpose'.", "purpose", "missing_required_parameter")
            lifetime = _lifetime(form.get("expires_after[anchor]"), form.get("expires_after[seconds]"))
            return await _state(request).files.upload(file.file, file.filename, purpose, lifetime)
    except (MultiPartException, HTTPException, UnicodeError) as error:
        raise bad_request(f"the form cannot be read: {getattr(error, 'detail', error)}", None, "invalid_form") from None


def _lifetime(anchor: object, seconds: object) -> int | None:
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise bad_request("expires_after[anchor] must be created_at", "expires_after[anchor]")
    try:
        asked = int(str(seconds)[:20])
    except ValueError:
        asked = 0
    if not 3600 <= asked <= 2592000:
        raise bad_request("expires_after[seconds] must be from 3600 to 2592000", "expires_after[seconds]")
    return asked


async def _file(request: Request) -> Response:
    files, file_id = _state(request).files, request.path_params["file_id"]
    if request.method == "DELETE":
        files.delete(file_id)
        return JSONResponse({"id": file_id, "object": "file", "deleted": True})
    return JSONResponse(files.get(file_id).body)


async def _content(request: Request) -> Response:
    files = _state(request).files
    kept = files.get(request.path_params["file_id"])
    # As bytes and nothing else: a browser must not take what somebody uploaded for a page.
    return FileResponse(files.path(kept), media_type="application/octet-stream", filename="file.jsonl")


async def _jobs(request: Request) -> Response:
    jobs = _state(request).jobs
    if request.method == "POST":
        return JSONResponse((await jobs.create(await _json(request))).body)
    found = list(reversed(jobs.all()))
    for name, value in request.query_params.multi_items():
        if name.startswith("metadata[") and name.endswith("]"):
            found = [job for job in found if (job.body["metadata"] or {}).get(name[9:-1]) == value]
        elif name == "metadata" and value == "null":
            found = [job for job in found if not job.body["metadata"]]
    bodies, more = _page(request, [job.body for job in found], 20, 100)
    return JSONResponse({"object": "list", "data": bodies, "has_more": more})


def _named_job(request: Request) -> Job:
    return _state(request).jobs.get(request.path_params["job_id"])


async def _job(request: Request) -> Response:
    return JSONResponse(_named_job(request).body)


async def _cancel_job(request: Request) -> Response:
    return JSONResponse((await _state(request).jobs.cancel(request.path_params["job_id"])).body)


async def _events(request: Request) -> Response:
    bodies, more = _page(request, list(reversed(_named_job(request).events.all())), 20, 1000)
    return JSONResponse({"object": "list", "data": bodies, "has_more": more})


async def _checkpoints(request: Request) -> Response:
    found = _state(request).jobs.checkpoints(_named_job(request))
    bodies, more = _page(request, found, 10, 100)
    ends = {"first_id": bodies[0]["id"] if bodies else None, "last_id": bodies[-1]["id"] if bodies else None}
    return JSONResponse({"object": "list", "data": bodies, **ends, "has_more": more})


async def _batches(request: Request) -> Response:
    batches = _state(request).batches
    if request.method == "POST":
        return JSONResponse(await batches.create(await _json(request)))
    bodies, more = _page(request, list(reversed(batches.all())), 20, 100)
    return JSONResponse(_listed(bodies, more))


async def _batch(request: Request) -> Response:
    return JSONResponse(_state(request).batches.get(request.path_params["batch_id"]))


async def _cancel_batch(request: Request) -> Response:
    return JSONResponse(await _state(request).batches.cancel(request.path_params["batch_id"]))


def _choice(request: Request, name: str, allowed: Sequence[str], default: str) -> str:
    value = request.query_params.get(name, default)
    if value not in allowed:
        raise bad_request(f"{name} is one of {', '.join(allowed)}; got {value[:100]!r}", name)
    return value


def _page(request: Request, found: list[dict[str, Any]], default: int, most: int) -> tuple[list[dict[str, Any]], bool]:
    """The part of a list that ``after`` and ``limit`` ask for, and whether more follows."""
    text = request.query_params.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= most):
        raise bad_request(f"limit is a whole number from 1 to {most}; got {text[:100]!r}", "limit")
    after = request.query_params.get("after")
    start = 0
    if after is not None:
        start = next((i + 1 for i, body in enumerate(found) if body["id"] == after), -1)
        if start < 0:
            raise bad_request(f"after names nothing in this list: {after[:100]!r}", "after")
    end = start + int(text)
    return found[start:end], end < len(found)


def _listed(bodies: list[dict[str, Any]], more: bool) -> dict[str, Any]:
    ends = {"first_id": bodies[0]["id"] if bodies else "", "last_id": bodies[-1]["id"] if bodies else ""}
    return {"object": "list", "data": bodies, **ends, "has_more": more}


async def _told(request: Request, error: ApiError) -> Response:
    del request
    return JSONResponse(error.body, error.status)


async def _http_error(request: Request, error: HTTPException) -> Response:
    unknown = {404: "unknown_url", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
    message = f"{error.detail}: {request.method} {request.url.path[:200]}"
    return JSONResponse(error_body(error.status_code, message, unknown), error.status_code, error.headers)


async def _model_error(request: Request, error: IntrospectError) -> Response:
    """The model, not the request: it cannot be opened, or the service behind it is gone."""
    said = scrub(str(error))
    _log.error("%s: %s", request.url.path, said)
    return JSONResponse(error_body(503, said, "model_unavailable"), 503)


async def _gone(request: Request, error: ClientDisconnect) -> Response:
    del request, error
    return Response(status_code=499)


async def _crash(request: Request, error: Exception) -> Response:
    del error  # logged with its traceback
    _log.exception("%s %s", request.method, request.url.path)
    return JSONResponse(error_body(500, "the server failed on this request; its log says more", "server_error"), 500)
