from __future__ import annotations

import socket
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]


@pytest.fixture
def guarded(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest((Path(__file__).parent / "conftest.py").read_text(encoding="utf-8"))
    return pytester


def test_reaching_for_another_machine_fails_the_test(guarded: pytest.Pytester) -> None:
    # 192.0.2.0/24 is reserved for documentation: nothing answers there even if the guard did not work.
    guarded.makepyfile(
        """
        import asyncio, contextlib, socket
        import pytest

        def test_connects():
            with socket.socket() as s:
                s.settimeout(0.1)
                s.connect(("192.0.2.1", 80))

        def test_resolves():
            socket.getaddrinfo("host.invalid", 80)

        def test_sends_a_datagram():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.sendto(b"x", ("192.0.2.1", 53))

        def test_opens_an_asyncio_connection():
            asyncio.run(asyncio.wait_for(asyncio.open_connection("192.0.2.1", 80), 0.1))

        def test_nothing():
            pass
        """
    )
    result = guarded.runpytest_subprocess("-p", "no:cacheprovider")
    outcomes = result.parseoutcomes()
    assert outcomes["failed"] == 4
    assert outcomes["passed"] == 1
    result.stdout.fnmatch_lines(["*tests must not use the network*192.0.2.1*"])


def test_a_swallowed_attempt_fails_the_test_too(guarded: pytest.Pytester) -> None:
    guarded.makepyfile(
        """
        import contextlib, socket

        def test_swallows():
            with contextlib.suppress(Exception), socket.socket() as s:
                s.settimeout(0.1)
                s.connect(("192.0.2.1", 80))
        """
    )
    result = guarded.runpytest_subprocess("-p", "no:cacheprovider")
    assert result.parseoutcomes()["errors"] == 1
    result.stdout.fnmatch_lines(["*reached for the network: 192.0.2.1*"])


def test_a_server_on_this_machine_can_be_reached() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(("localhost", server.getsockname()[1])) as client,
    ):
        connection, _ = server.accept()
        with connection:
            client.sendall(b"x")
            assert connection.recv(1) == b"x"
