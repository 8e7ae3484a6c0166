"""How many replies a second come in from a server that answers at once: the library against the bare SDK.

Run: python benchmarks/bench_hosted.py [--requests 1000] [--concurrency 32] [--rounds 3] [--inspect PYTHON]

Told are replies a second, and the processor time of the process that asks, each compared with the library's. The second
comparison holds also on a machine that has other work to do.

All ask the same server the same questions with log-probabilities, with equally many under way. The library also
retries, limits, reads the answers' log-probabilities and stores every reply; the bare SDK does none of it. With
``--inspect`` and the Python of an environment that has inspect_ai, that runs beside them (its cache off, its log on).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from introspect.backend import Message, ModelRef, Request, ask, open_model
from introspect.store import Store
from introspect.training import StoredReplies

_TOP = [{"token": t, "logprob": p, "bytes": [65]} for t, p in (("A", -0.2), ("B", -2.0), (" A", -3.5), ("I", -5.0))]
_REPLY = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "noop",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "A"},
                "logprobs": {"content": [{**_TOP[0], "top_logprobs": _TOP}]},
            }
        ],
        "usage": {"prompt_tokens": 40, "completion_tokens": 1, "total_tokens": 41},
    }
).encode()


class _NoOp(asyncio.Protocol):
    """Answers every request with the same bytes."""

    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(_REPLY) + _REPLY

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._got = transport, b""

    def data_received(self, data: bytes) -> None:
        self._got += data
        while (end := self._got.find(b"\r\n\r\n")) >= 0:
            head = self._got[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._got) < end + 4 + length:
                return
            self._got = self._got[end + 4 + length :]
            self._transport.write(self.answer)  # type: ignore[attr-defined]


def serve() -> None:
    """Run the server until standard input closes; print its port first."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(_NoOp, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await loop.run_in_executor(None, sys.stdin.read)

    asyncio.run(main())


def prompts(n: int) -> list[str]:
    """Questions about as long as those of a study."""
    return [f"Which is better: {k} (A) or {k * 7 % 1000} (B)? " + "Think of all sides. " * 20 for k in range(n)]


class Spent(NamedTuple):
    """Seconds: on the clock, and of the asking process's own work."""

    clock: float
    work: float

    @classmethod
    def now(cls) -> Spent:
        return cls(time.perf_counter(), time.process_time())

    def since(self, began: Spent) -> Spent:
        return Spent(self.clock - began.clock, self.work - began.work)


def bare(url: str, texts: list[str], concurrency: int) -> Spent:
    """The SDK and asyncio.gather, and nothing kept."""
    from openai import AsyncOpenAI

    async def main() -> Spent:
        turns = asyncio.Semaphore(concurrency)
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

            async def one(text: str) -> str | None:
                async with turns:
                    answer = await client.chat.completions.create(
                        model="noop",
                        messages=[{"role": "user", "content": text}],
                        max_tokens=4,
                        temperature=0.0,
                        logprobs=True,
                        top_logprobs=20,
                    )
                    return answer.choices[0].message.content

            await one(texts[0])  # the first call pays for imports and connections
            began = Spent.now()
            answers = await asyncio.gather(*[one(text) for text in texts])
            spent = Spent.now().since(began)
        assert answers == ["A"] * len(texts)
        return spent

    return asyncio.run(main())


def ours(url: str, texts: list[str], concurrency: int, folder: Path) -> Spent:
    """The whole stack, with every reply stored."""
    ref = ModelRef(provider="openai", model="noop", location=url)
    asked = [
        Request(messages=(Message(role="user", content=text),), answers=("A", "B"), max_tokens=4) for text in texts
    ]
    with tempfile.TemporaryDirectory(dir=folder) as scratch, Store.open(Path(scratch) / "study.db") as store:
        model = open_model(ref, cache=StoredReplies(store), concurrency=concurrency)
        ask(model, [Request(messages=(Message(role="user", content="first"),))])
        began = Spent.now()
        replies = ask(model, asked)
        spent = Spent.now().since(began)
        assert all(reply.answer_logprobs for reply in replies)
        assert store.n_replies() == len(texts) + 1
    return spent


_INSPECT = """
import json, sys, time
from inspect_ai import Task, eval as run
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.solver import generate
url, n, texts = sys.argv[1], int(sys.argv[2]), json.load(sys.stdin)
config = GenerateConfig(max_connections=n, logprobs=True, top_logprobs=20, max_tokens=4, temperature=0.0)
def go(samples):
    task = Task(dataset=[Sample(input=t) for t in samples], solver=generate(), config=config)
    began = time.perf_counter(), time.process_time()
    logs = run(task, model="openai-api/noop/noop", model_base_url=url, display="none", max_samples=n,
               log_dir=sys.argv[3], fail_on_error=False)
    assert logs[0].status == "success", logs[0].error
    return time.perf_counter() - began[0], time.process_time() - began[1]
go(texts[:2])  # imports
fixed = go(texts[:2])  # what a run costs however few it asks is not held against it
print(json.dumps([max(spent - least, 1e-9) for spent, least in zip(go(texts), fixed)]))
"""


def inspect(python: str, url: str, texts: list[str], concurrency: int, folder: Path) -> Spent:
    """inspect_ai, in an environment of its own."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        done = subprocess.run(
            [python, "-c", _INSPECT, url, str(concurrency), scratch],
            input=json.dumps(texts),
            text=True,
            capture_output=True,
            check=False,
            env={"NOOP_API_KEY": "none", "NOOP_BASE_URL": url, "PATH": "/usr/bin:/bin", "HOME": scratch},
        )
    if done.returncode:
        raise SystemExit(f"inspect_ai did not run: {done.stderr[-2000:]}")
    return Spent(*json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Print replies a second and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many counts; they take turns")
    parser.add_argument("--folder", type=Path, default=None, help="where to write (the disk that is measured)")
    parser.add_argument("--inspect", metavar="PYTHON", help="python of an environment with inspect_ai")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.gettempdir())
    texts = prompts(options.requests)

    spent: dict[str, list[Spent]] = {}
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "]
    command[-1] += "import bench_hosted; bench_hosted.serve()"
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        runs = {
            "bare SDK": lambda: bare(url, texts, options.concurrency),
            "introspect": lambda: ours(url, texts, options.concurrency, folder),
        }
        if options.inspect:
            runs["inspect_ai"] = lambda: inspect(options.inspect, url, texts, options.concurrency, folder)
        for _ in range(options.rounds):
            for name, run in runs.items():
                spent.setdefault(name, []).append(run())
        server.kill()

    print(f"{options.requests:,} requests, {options.concurrency} at once, best of {options.rounds} rounds")
    print(f"{'':<12}{'replies/s':>11}{'x ours':>9}{'work, ms each':>16}{'x ours':>9}")
    best = {name: Spent(*map(min, zip(*rounds, strict=True))) for name, rounds in spent.items()}
    for name, (clock, work) in best.items():
        own = best["introspect"]
        each = 1000 * work / options.requests
        print(
            f"{name:<12}{options.requests / clock:>11,.0f}{clock / own.clock:>9.2f}{each:>16.2f}{work / own.work:>9.2f}"
        )


if __name__ == "__main__":
    main()
