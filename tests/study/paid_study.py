"""A study that pays for every call, over a loopback server that is a pure function of the request.

Run as a program, this is a zygote: it imports everything once, and forks a child for each run, so that many kills take
little time. ``python paid_study.py PROVIDER URL CONTEXTS`` reads folders from standard input; for each it prints the
child's pid and, when that has ended, how (an exit code, or a signal's number below zero). The next line lets the child
be reaped.
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from small_studies import small_study

from introspect.backend import JobRecorder, Message, ModelRef, Request, TrainingSet, TrainingSpec, register
from introspect.backend.openai import OpenAIBackend
from introspect.decision import organism_scenarios
from introspect.study import Study, StudyProtocol
from introspect.subjects import SimulatedAgent
from introspect.subjects.simulated import SimulatedBackend

CONCURRENCY = 8


def answer(body: dict[str, Any]) -> dict[str, Any]:
    """A completion by the agent of that name; "train" is the service's door for training jobs."""
    name, text = body["model"], "job"
    logprobs = None
    if not name.startswith("train:"):
        seed = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
        agent = SimulatedBackend(SimulatedAgent(name=name, seed=seed, logprobs=True))
        wanted = ("A", "B") if body.get("logprobs") else None
        reply = agent.reply(
            Request(messages=tuple(Message(**m) for m in body["messages"]), answers=wanted, seed=body.get("seed"))
        )
        assert reply.status == "completed", reply.reason
        text = reply.text
        if reply.answer_logprobs:
            top = [{"token": t, "logprob": p, "bytes": None} for t, p in reply.answer_logprobs.items() if p > -math.inf]
            top.sort(key=lambda row: -row["logprob"])
            logprobs = {"content": [{**top[0], "top_logprobs": top}]}
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
        "logprobs": logprobs,
    }
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": name, "choices": [choice], "usage": usage}


class PaidTrainer:
    """Pays for a job once, and remembers its id before it waits."""

    async def train(self, base: ModelRef, data: TrainingSet, spec: TrainingSpec, jobs: JobRecorder) -> ModelRef:
        import asyncio

        state = jobs.recall()
        made = hashlib.sha256(f"{base.key} {data.hash} {spec.model_dump_json()}".encode()).hexdigest()[:16]
        if "job" not in state:
            order = Request(messages=(Message(role="user", content=f"{data.hash} {spec.model_dump_json()}"),))
            service = OpenAIBackend(base.model_copy(update={"adapter": f"train:{made}"}))
            for _ in range(20):
                (reply,) = await service.answer([order])
                if reply.status == "completed":
                    break
            assert reply.status == "completed", reply.reason
            await service.aclose()
            jobs.record({"job": made})
        for done in range(4):
            jobs.progress(done, 4)
            await asyncio.sleep(0.005)
        return base.model_copy(update={"adapter": f"ft:{made}", "parent": base})


def _open(ref: ModelRef) -> OpenAIBackend:
    backend = OpenAIBackend(ref, concurrency=CONCURRENCY)
    backend._kind.replace("plain")
    return backend


register("paid", open=_open, trainer=PaidTrainer, hosted=True)


def paid_study(provider: str, url: str, folder: Path | str, n_contexts: int) -> Study:
    """About 90 calls a context, and four trainings."""
    return small_study(
        Path(folder),
        model=ModelRef(provider=provider, model="m", location=url),
        scenarios=organism_scenarios(n_contexts),
        native=organism_scenarios(3, prefix="n"),
        protocol=StudyProtocol(n_instil=12, n_measure=8, n_native=8, n_reports=2),
    )


def main(arguments: Sequence[str]) -> None:
    provider, url, n_contexts = arguments[0], arguments[1], int(arguments[2])
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            code = 1
            try:
                paid_study(provider, url, line.strip(), n_contexts).run()
                code = 0
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(code)
        print(child, flush=True)
        # Told of before it is reaped, so that a kill that comes too late hits a dead child and no other process.
        ended = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        print(-ended.si_status if ended.si_code == os.CLD_KILLED else ended.si_status, flush=True)
        sys.stdin.readline()
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1:])
