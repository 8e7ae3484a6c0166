"""From a server's JSON to replies."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from pydantic import JsonValue

from introspect.backend.failures import Failure
from introspect.backend.openai.labels import Position, positions_of, read_labels
from introspect.backend.wire import Reply, Request, Usage

__all__ = ["Unreadable", "read_body", "read_choice", "usage_of"]

_THOUGHT = re.compile(r"\s*<think>(.*?)(?:</think>\s*|\Z)", re.DOTALL)


class Unreadable(Exception):
    """An answer with status 200 that is none."""


def read_body(content: bytes, content_type: str) -> dict[str, Any]:
    """The completion in a response's body.

    Raises:
        Unreadable: It is no JSON object, it is cut short, it holds an error, or there is nothing in it.
    """
    try:
        body = json.loads(content)
    except ValueError:
        kind = content_type.partition(";")[0].strip() or "no content type"
        start = content[:60].decode("utf-8", "replace")
        what = "JSON that breaks off" if content[:1] in (b"{", b"[") else f"{kind} and not JSON"
        raise Unreadable(f"the server answered with {what}: {start!r}") from None
    if not isinstance(body, dict):
        raise Unreadable(f"the server answered with a JSON {type(body).__name__}, expected an object")
    error = body.get("error")
    if error:
        said = error.get("message") if isinstance(error, dict) else error
        raise Unreadable(f"the server answered 200 with an error: {said}")
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise Unreadable("the server answered without any choice")
    return body


def usage_of(body: dict[str, Any], n: int) -> Usage:
    """Tokens used by one of `n` replies: the prompt was read once, and its cost is shared."""
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return Usage()
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    whole = [-(-c // n) if isinstance(c, int) and not isinstance(c, bool) and c >= 0 else None for c in counts]
    return Usage(prompt_tokens=whole[0], completion_tokens=whole[1])


def read_choice(
    choice: dict[str, Any], request: Request, usage: Usage, provenance: dict[str, JsonValue]
) -> tuple[Reply, bool]:
    """A reply, and whether the log-probabilities that its request asked for came with it."""
    message = choice.get("message")
    if not isinstance(message, dict):
        return Failure("malformed", charged=True).reply("the server's choice holds no message", **provenance), True
    written = _text(message.get("content"))
    text, thought = written, _text(message.get("reasoning_content") or message.get("reasoning")) or None
    if thought is None and (inline := _THOUGHT.match(text)) is not None:
        thought, text = inline.group(1).strip(), text[inline.end() :]
    refusal = message.get("refusal")
    if not text and isinstance(refusal, str):
        text = refusal
    reason = choice.get("finish_reason")
    prefill = request.prefill or ""
    # vLLM gives the continuation alone, llama.cpp the whole message.
    whole = text if text.startswith(prefill) else prefill + text
    if reason == "content_filter":
        said = "the service's content filter held the answer back"
        return Reply(
            status="filtered", text=whole, reason=said, thinking_text=thought, usage=usage, provenance=provenance
        ), True
    found = None
    positions = positions_of(choice.get("logprobs")) if request.answers else None
    if request.answers and positions:
        start = _answer_start(positions, text.removeprefix(prefill))
        found = read_labels(positions[start:], request.answers) if start is not None else None
    reply = Reply(
        status="truncated" if reason == "length" else "completed",
        text=whole,
        thinking_text=thought,
        usage=usage,
        provenance=provenance,
        answer_logprobs=None if found is None else found.answer_logprobs,
        mass_outside=None if found is None else found.mass_outside,
        logprob_floor=None if found is None else found.logprob_floor,
    )
    return reply, positions is not None or not request.answers


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):  # parts, as some servers send them
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return ""


def _answer_start(positions: Sequence[Position], text: str) -> int | None:
    """Which generated token begins the text: not the first where a server lists the tokens of the reasoning too."""
    tokens = [position.token for position in positions]
    wanted, written = text.strip(), "".join(tokens)
    if not wanted or written.lstrip().startswith(wanted[:20]):
        return 0
    at = written.rfind(wanted)
    if at < 0:
        # Special tokens and bytes that are no text on their own: believe the list unless there was reasoning.
        return 0 if "</think>" not in written else None
    length = 0
    for number, token in enumerate(tokens):
        length += len(token)
        if length > at:
            return number
    return None
