"""No test talks to the world: what reaches for another machine fails, also where the error is swallowed."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator

import pytest

_attempts: list[str] = []


class NetworkBlockedError(RuntimeError):
    """A test reached for the network."""


def _is_local(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host is None or host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


def _refuse(host: object) -> None:
    _attempts.append(str(host))
    raise NetworkBlockedError(f"tests must not use the network, but this one reached for {host!r}")


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    def guarded(name: str):  # the address is the last argument of all of these
        original = getattr(socket.socket, name)

        def call(self: socket.socket, *args):
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(args[-1][0]):
                _refuse(args[-1][0])
            return original(self, *args)

        return call

    resolve = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        if not _is_local(host):
            _refuse(host)
        return resolve(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex", "sendto"):
            patch.setattr(socket.socket, name, guarded(name))
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield


@pytest.fixture(autouse=True)
def _fails_where_the_network_was_used(_no_network: None) -> Iterator[None]:
    _attempts.clear()
    yield
    if _attempts:
        pytest.fail(f"this test reached for the network: {', '.join(_attempts)}")
