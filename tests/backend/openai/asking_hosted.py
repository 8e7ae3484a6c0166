"""One question to a server that a test holds in its hand."""

from __future__ import annotations

from typing import Any

from faulty_server import FaultyServer

from introspect.backend import Message, ModelRef, Reply, Request, ask
from introspect.backend.openai import OpenAIBackend


def opened(server: FaultyServer, **options: Any) -> OpenAIBackend:
    return OpenAIBackend(ModelRef(provider="openai", model="m", location=server.url), **options)


def question(text: str = "A or B?", **settings: Any) -> Request:
    return Request(messages=(Message(role="user", content=text),), **settings)


def one(server: FaultyServer, request: Request | None = None, **options: Any) -> Reply:
    return ask(opened(server, **options), [request or question(answers=("A", "B"))])[0]
