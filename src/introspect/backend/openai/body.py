"""From a request to the JSON that a server is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from introspect.backend.openai.address import Dialect
from introspect.backend.wire import Request

__all__ = ["MORE_LOGPROBS", "TOP_LOGPROBS", "Manners", "body_of", "seed_of"]

TOP_LOGPROBS = 20
"""The most that OpenAI gives; a server that gives fewer is asked for fewer from then on."""

MORE_LOGPROBS = 100
"""For llama.cpp, which gives as many as are asked for: small models put much of their mass on other words."""

# Some servers sample from a distribution of their own making unless told not to: llama.cpp cuts it by default, vLLM
# does what the model's folder says, a penalty on repeated tokens included, which changes greedy answers as well.
_NEUTRAL: dict[Dialect, dict[str, Any]] = {
    "llama.cpp": {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},
    "vllm": {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
}


@dataclass
class Manners:
    """What was learned about a server so far.

    Attributes:
        dialect: Whose extensions it understands.
        top_logprobs: How many log-probabilities to ask for; 0 asks for none.
        seed: Whether to send seeds.
        modern_limit: Whether the cap on tokens is called ``max_completion_tokens``.
    """

    dialect: Dialect = "plain"
    top_logprobs: int = TOP_LOGPROBS
    seed: bool = True
    modern_limit: bool = False


def seed_of(request: Request) -> int | None:
    """The seed to send: repeats of a seeded request get seeds of their own, or they would all be alike.

    Example:
        >>> from introspect.backend import Message
        >>> first = Request(messages=(Message(role="user", content="A or B?"),), seed=7)
        >>> seed_of(first), seed_of(first.model_copy(update={"sample_index": 1}))
        (7, 1000010)
    """
    if request.seed is None:
        return None
    return (request.seed + 1_000_003 * request.sample_index) % 2**31 if request.sample_index else request.seed


def body_of(request: Request, model: str, manners: Manners, n: int = 1) -> dict[str, Any]:
    """The body of ``POST /chat/completions``; only fields that the request needs, for servers refuse others."""
    messages = [{"role": message.role, "content": message.content} for message in request.messages]
    body: dict[str, Any] = {"model": model, "messages": messages, "temperature": request.temperature}
    room = request.max_tokens + (request.thinking or 0)
    body["max_completion_tokens" if manners.modern_limit else "max_tokens"] = room
    body.update(_NEUTRAL.get(manners.dialect, {}))
    if n > 1:
        body["n"] = n
    if manners.seed and (seed := seed_of(request)) is not None:
        body["seed"] = seed
    if request.answers and manners.top_logprobs:
        body["logprobs"] = True
        body["top_logprobs"] = manners.top_logprobs
        if manners.dialect == "together":
            body["logprobs"] = body.pop("top_logprobs")
        elif manners.dialect == "openrouter":
            # Else a provider may be picked that leaves them out without a word.
            body["provider"] = {"require_parameters": True}
    if request.json_schema is not None:
        schema = {"name": "reply", "schema": request.json_schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.prefill is not None:
        messages.append({"role": "assistant", "content": request.prefill})
        if manners.dialect not in ("llama.cpp", "openrouter", "together", "fireworks"):
            body.update(continue_final_message=True, add_generation_prompt=False)
    if request.thinking is not None:
        body.update(_thinking(request.thinking, manners.dialect))
    return body


def _thinking(budget: int, dialect: Dialect) -> dict[str, Any]:
    if dialect in ("openai", "azure"):
        # There is no budget in tokens, only an effort; the cap on all tokens holds the budget.
        return {} if budget else {"reasoning_effort": "none"}
    if dialect == "openrouter":
        return {"reasoning": {"max_tokens": budget} if budget else {"enabled": False}}
    if dialect in ("together", "fireworks"):
        return {} if budget else {"reasoning_effort": "none"}
    return {"chat_template_kwargs": {"enable_thinking": budget > 0}}
