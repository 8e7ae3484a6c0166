"""A whole third-party backend: found by its entry point, without a change to introspect."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from introspect.backend import Capabilities, ModelInfo, ModelRef, Provider, Reply, Request

__all__ = ["PROVIDER", "Echo"]


class Echo:
    """Answers with the last letter of the question."""

    def __init__(self, ref: ModelRef) -> None:
        self.info = ModelInfo(ref=ref)

    async def probe(self) -> Capabilities:
        """It speaks and gives no probabilities."""
        return Capabilities(answer_logprobs=False)

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        """One reply each, in order."""
        for index, request in enumerate(requests):
            letters = [c for c in request.messages[-1].content if c.isalpha()]
            yield index, Reply(status="completed", text=letters[-1] if letters else "")

    async def aclose(self) -> None:
        """Nothing to close."""


PROVIDER = Provider(open=Echo)
