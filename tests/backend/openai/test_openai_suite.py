"""The adapter for OpenAI's wire format keeps the forty promises of a backend, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from faulty_server import FaultyServer, error

from introspect.backend import Message, ModelRef, Request
from introspect.backend.openai import OpenAIBackend
from introspect.testing import BackendConformance


class TestOpenAI(BackendConformance):
    deterministic = True

    @pytest.fixture(autouse=True, scope="class")
    def _server(self, request: pytest.FixtureRequest) -> Iterator[None]:
        def fault(body: dict[str, Any]) -> Any:
            return error(400, "prompt too long") if "a long story" in str(body["messages"]) else None

        with FaultyServer(fault) as server:
            request.cls.url = server.url
            yield

    def make(self) -> OpenAIBackend:
        return OpenAIBackend(ModelRef(provider="openai", model="m", location=self.url))

    def failing(self) -> Request:
        return Request(messages=(Message(role="user", content="a long story"),))
