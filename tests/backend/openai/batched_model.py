"""A model that is asked through a service's Batch API."""

from __future__ import annotations

from pathlib import Path

from batch_server import FAST, BatchServer
from faulty_server import completion

from introspect.backend import FolderJobs, ModelRef, Reply, Request
from introspect.backend.openai import Batched, OpenAIBackend


def model_of(server: BatchServer) -> OpenAIBackend:
    backend = OpenAIBackend(ModelRef(provider="openai", model="m", location=server.url), key="sk-planted-0123456789")
    backend._kind.replace("plain")  # what kind of server it is, is asked elsewhere
    return backend


def batched(server: BatchServer, folder: Path, **options) -> Batched:
    return Batched(model_of(server), FolderJobs(folder), **{**FAST, **options})


def expected(request: Request) -> str:
    body = {"model": "m", "messages": [{"role": "user", "content": request.messages[0].content}], "temperature": 0.0}
    return completion(body)["choices"][0]["message"]["content"]


def right(replies: list[Reply], requests: list[Request]) -> bool:
    return [reply.text for reply in replies] == [expected(request) for request in requests]
