"""Running a server: in the foreground for the command line, in a thread for a notebook or a test."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn

from introspect.backend import ModelRef, TrainingSpec
from introspect.backend.secrets import Secret
from introspect.errors import ConfigError
from introspect.serve.app import make_app
from introspect.serve.config import Limits, ServeConfig

__all__ = ["serve", "serving"]

_START = 60.0
_GRACE = 5


def serve(config: ServeConfig, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve until interrupted.

    Args:
        config: What, and where its state is kept.
        host: Address to listen on. Anything but this machine's own needs a key.
        port: 0 for one that is free.

    Raises:
        ConfigError: No key where one is needed, the port is taken, or another server holds the folder.
        BackendError: The model cannot be opened.
    """
    server, listener = _server(config, host, port)
    with listener:
        bound = listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        key = "as OPENAI_API_KEY the key that was set" if config.key else "any OPENAI_API_KEY"
        print(f"serving {config.name!r} at http://{shown}:{bound}/v1, with its state in {config.folder}", flush=True)
        print(f"for the openai package: OPENAI_BASE_URL=http://{shown}:{bound}/v1 and {key}", flush=True)
        with suppress(KeyboardInterrupt):  # uvicorn raises it once more after it has shut down
            _run(server, listener)
    _raise_if_failed(server)


@contextmanager
def serving(
    model: ModelRef,
    folder: Path | str,
    *,
    name: str = "",
    port: int = 0,
    key: Secret | str | None = None,
    spec: TrainingSpec | None = None,
    limits: Limits | None = None,
) -> Iterator[str]:
    """Serve a model on a loopback port, in a thread, for as long as the block lasts.

    Args:
        model: The base model.
        folder: Where files, jobs and trained weights are kept.
        name: What clients call the model.
        port: 0 for one that is free.
        key: What clients must send.
        spec: How to train where a job says "auto".
        limits: How much is taken.

    Yields:
        The base URL, which ends with ``/v1``.

    Raises:
        ConfigError: Another server holds the folder, or the port is taken.
        BackendError: The model cannot be opened.

    Example:
        >>> import tempfile, httpx
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with serving(ModelRef(provider="simulated", model="demo"), folder) as url:
        ...         httpx.get(f"{url}/models").json()["data"][0]["id"]
        'demo'
    """
    config = ServeConfig(
        model=model,
        folder=Path(folder),
        name=name,
        key=Secret(key) if isinstance(key, str) else key,
        spec=spec,
        limits=limits if limits is not None else Limits(),
    )
    server, listener = _server(config, "127.0.0.1", port)
    thread = threading.Thread(target=_run, args=(server, listener), daemon=True, name="introspect-serve")
    with listener:
        thread.start()
        waited = threading.Event()
        for _ in range(int(_START * 100)):
            if server.started or not thread.is_alive():
                break
            waited.wait(0.01)
        try:
            _raise_if_failed(server)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            thread.join()


class _Server(uvicorn.Server):
    """uvicorn's server, that keeps what went wrong on starting instead of only logging it."""

    failure: BaseException | None = None


def _server(config: ServeConfig, host: str, port: int) -> tuple[_Server, socket.socket]:
    if config.key is None and not _is_loopback(host):
        raise ConfigError(
            f"{host} can be reached from other machines: set a key in an environment variable and name it with "
            "--key-env, or listen on 127.0.0.1"
        )
    app = make_app(config)

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return

        async def told(message: Any) -> None:
            if message["type"] == "lifespan.startup.failed":
                server.should_exit = True
            await send(message)

        try:
            await app(scope, receive, told)
        except BaseException as error:
            server.failure = error
            raise

    server = _Server(
        uvicorn.Config(
            watched,
            lifespan="on",
            log_level=logging.CRITICAL,  # what can be told is told by us
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE,
            h11_max_incomplete_event_size=64 * 1024,
        )
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host}, port {port}: {error.strerror}. Give another --port.") from None
    return server, listener


def _run(server: _Server, listener: socket.socket) -> None:
    try:
        server.run([listener])
    except SystemExit:  # how uvicorn says that it did not start
        if server.failure is None:
            server.failure = ConfigError("the server did not start")


def _raise_if_failed(server: _Server) -> None:
    if server.failure is not None:
        raise server.failure


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
