"""What a server really does: asked, looked at, and told apart from what it answers 200 to and ignores."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

from introspect.backend.failures import Failure
from introspect.backend.openai.address import Address
from introspect.backend.openai.body import Manners, body_of
from introspect.backend.openai.failing import sort_error
from introspect.backend.openai.labels import positions_of
from introspect.backend.openai.once import Once
from introspect.backend.openai.parse import Unreadable, read_choice, usage_of
from introspect.backend.wire import Capabilities, Message, Reply, Request
from introspect.errors import BackendError, FatalBackendError

__all__ = ["FEATURES", "Feature", "Finding", "Findings"]

Feature = Literal["logprobs", "system_role", "seed", "n", "json_schema", "prefill", "thinking", "model_name"]
FEATURES: tuple[Feature, ...] = (
    "logprobs",
    "system_role",
    "seed",
    "n",
    "json_schema",
    "prefill",
    "thinking",
    "model_name",
)

_TRIES = 4
_NO_MODEL = "introspect-no-such-model"
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"zq": {"type": "string", "enum": ["left", "right"]}},
    "required": ["zq"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Finding:
    """What was seen of one feature.

    Attributes:
        feature: Which.
        state: "works"; "ignored" (the server answered 200 and did not do it); "refused" (it said that it cannot);
            "unclear".
        detail: What was seen, in words.
    """

    feature: Feature
    state: Literal["works", "ignored", "refused", "unclear"]
    detail: str


class _Server(Protocol):
    @property
    def address(self) -> Address: ...

    @property
    def model(self) -> str: ...

    @property
    def manners(self) -> Manners: ...

    async def post(self, body: dict[str, Any]) -> dict[str, Any]: ...


class _Refused(Exception):
    """The server says that it does not do this."""


class Findings:
    """What has been verified about a server so far; each feature is looked at once, when it is first needed.

    Args:
        server: Who is asked.

    Attributes:
        calls: Completions asked for by looking.
    """

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._findings: dict[Feature, Once[Finding]] = {f: Once(partial(self._look, f)) for f in FEATURES}
        self.calls = 0

    def holds(self, feature: Feature) -> bool:
        """Whether a feature was looked at and works."""
        found = self._findings[feature].value
        return found is not None and found.state == "works"

    async def verified(self, feature: Feature) -> bool:
        """Whether a feature works, looked at now if it was not yet.

        Raises:
            BackendError: The server could not be asked.
        """
        return (await self.find(feature)).state == "works"

    async def find(self, feature: Feature) -> Finding:
        """The finding about a feature; who asks for the same at the same time waits for the same look."""
        return await self._findings[feature].get()

    def forget(self, feature: Feature) -> None:
        """It turned out otherwise."""
        self._findings[feature].replace(Finding(feature, "unclear", "worked when it was looked at, but not later"))

    async def all(self) -> Capabilities:
        """Look at everything that was not looked at yet."""
        found = {feature: await self.find(feature) for feature in FEATURES}
        works = {feature for feature, finding in found.items() if finding.state == "works"}
        return Capabilities(
            answer_logprobs="logprobs" in works,
            system_role="system_role" in works,
            seed="seed" in works,
            n="n" in works,
            prefill="prefill" in works,
            json_schema="json_schema" in works,
            thinking="thinking" in works,
            calls=self.calls,
            notes=tuple(f"{f.feature}: {f.detail}" for f in found.values() if f.state == "ignored"),
        )

    async def _look(self, feature: Feature) -> Finding:
        looks: dict[Feature, Callable[[], Awaitable[Finding]]] = {
            "logprobs": self._logprobs,
            "system_role": self._system_role,
            "seed": self._seed,
            "n": self._n,
            "json_schema": self._json_schema,
            "prefill": self._prefill,
            "thinking": self._thinking,
            "model_name": self._model_name,
        }
        try:
            return await looks[feature]()
        except _Refused as refusal:
            return Finding(feature, "refused", str(refusal))

    async def _logprobs(self) -> Finding:
        positions = None
        for _ in range(2):  # once may be an accident, and much hangs on it
            answer = await self._ask(_request("Reply with one letter, A or B.", answers=("A", "B"), max_tokens=4))
            positions = positions or positions_of(answer["choices"][0].get("logprobs"))
            if positions is not None:
                break
        if positions is None:
            return Finding("logprobs", "ignored", "asked for log-probabilities, the server sent none")
        shown = len(positions[0].listed)
        if shown < 2:
            return Finding("logprobs", "ignored", "only the generated token's log-probability came, no alternatives")
        return Finding("logprobs", "works", f"the {shown} most probable tokens")

    async def _system_role(self) -> Finding:
        request = _request("Hello.", max_tokens=1)
        messages = (Message(role="system", content="You are brief."), *request.messages)
        await self._ask(request.model_copy(update={"messages": messages}))
        return Finding("system_role", "works", "system messages are accepted")

    async def _seed(self) -> Finding:
        request = _request("Make up names for three planets and a moon.", max_tokens=24, temperature=1.0, seed=1)
        first, again, other = [await self._text(r) for r in (request, request, request.model_copy(update={"seed": 2}))]
        if first != again:
            return Finding("seed", "ignored", "the same seed gave two different texts")
        if first == other:
            return Finding("seed", "ignored", "two seeds gave the same text: seed or temperature has no effect")
        return Finding("seed", "works", "the same seed repeats a text, another one changes it")

    async def _n(self) -> Finding:
        request = _request("Make up names for three planets and a moon.", max_tokens=24, temperature=1.0)
        choices = (await self._ask(request, n=3))["choices"]
        if len(choices) != 3:
            return Finding("n", "ignored", f"asked for 3 samples at once, the server sent {len(choices)}")
        if len({self._read(choice, request).text for choice in choices}) == 1:
            return Finding("n", "ignored", "asked for 3 samples at once, the server sent one three times")
        return Finding("n", "works", "3 samples in one call")

    async def _json_schema(self) -> Finding:
        text = await self._text(_request("Tell me a short joke.", max_tokens=64, json_schema=_SCHEMA))
        try:
            kept = json.loads(text) in ({"zq": "left"}, {"zq": "right"})
        except ValueError:
            kept = False
        if not kept:
            return Finding("json_schema", "ignored", f"asked for one JSON object, the server wrote {text[:40]!r}")
        return Finding("json_schema", "works", "the reply followed the schema")

    async def _prefill(self) -> Finding:
        request = _request("Count from 1 to 9 in digits.", max_tokens=6, prefill="1, 2, 3, 4, 5,")
        text = (await self._text(request)).removeprefix(request.prefill or "")
        if not text.lstrip().startswith("6"):
            return Finding("prefill", "ignored", f"the answer was begun anew with {text.strip()[:20]!r}")
        return Finding("prefill", "works", "the answer went on where the prefill stopped")

    async def _thinking(self) -> Finding:
        request = _request("Is 7 prime? Answer yes or no.", max_tokens=64)
        if (await self._reply(request)).thinking_text is None:
            return Finding("thinking", "refused", "the model shows no reasoning")
        off = await self._reply(request.model_copy(update={"thinking": 0}))
        if off.thinking_text:
            return Finding("thinking", "ignored", "reasoning was switched off, and came all the same")
        return Finding("thinking", "works", "reasoning is shown, and can be switched off")

    async def _model_name(self) -> Finding:
        try:
            await self._ask(_request("Hello.", max_tokens=1), model=_NO_MODEL)
        except FatalBackendError:
            return Finding("model_name", "works", "an unknown model name is refused")
        except _Refused:
            return Finding("model_name", "works", "an unknown model name is refused")
        return Finding("model_name", "ignored", "a model name that does not exist was answered all the same")

    async def _text(self, request: Request) -> str:
        return (await self._reply(request)).text

    async def _reply(self, request: Request) -> Reply:
        return self._read((await self._ask(request))["choices"][0], request)

    def _read(self, choice: dict[str, Any], request: Request) -> Reply:
        return read_choice(choice, request, usage_of({}, 1), {})[0]

    async def _ask(self, request: Request, *, n: int = 1, model: str | None = None) -> dict[str, Any]:
        body = body_of(request, model or self._server.model, self._server.manners, n)
        reply: Reply | FatalBackendError = Reply(status="failed")
        for attempt in range(_TRIES):
            self.calls += 1
            try:
                return await self._server.post(body)
            except Unreadable as error:
                reply = Failure("malformed").reply(str(error))
            except Exception as error:  # the SDK's, sorted there
                reply = sort_error(error, str(self._server.address), model or self._server.model)
            if isinstance(reply, FatalBackendError):
                raise reply
            failure = Failure.of(reply)
            if failure is None or not failure.transient:
                raise _Refused(reply.reason or reply.status)
            await asyncio.sleep(min(failure.retry_after or 0.2 * 2**attempt, 30.0))
        assert isinstance(reply, Reply)
        raise BackendError(f"{self._server.address} could not be probed: {reply.reason}. Try again later")


def _request(question: str, **settings: Any) -> Request:
    return Request(messages=(Message(role="user", content=question),), **settings)
