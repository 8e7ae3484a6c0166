"""What crosses the seam between the library and a model: plain, frozen, JSON-able values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from introspect._checked import Checked

__all__ = ["Capabilities", "Message", "ModelInfo", "ModelRef", "Reply", "ReplyStatus", "Request", "Usage", "canonical"]

ReplyStatus = Literal["completed", "truncated", "filtered", "failed"]
"""What a backend can know about a reply."""


def canonical(value: Any) -> str:
    """One JSON text per value: sorted keys, no spaces. What every content hash is taken over."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class _Wire(Checked):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Message(_Wire):
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


class Request(_Wire):
    """One question to a model.

    Attributes:
        messages: The conversation so far, ending with the user's turn.
        answers: If given, the reply should carry the log-probability of each of these strings as the whole answer.
        max_tokens: Cap on generated tokens.
        temperature: 0 is greedy.
        seed: Sampling seed, where the model has one.
        sample_index: Which repeat of an otherwise equal request this is; part of the cache key.
        prefill: Text that the reply must start with, where the model allows it.
        json_schema: JSON schema that the reply must follow, where the model enforces it.
        thinking: Token budget of a reasoning model; 0 turns reasoning off, None leaves the model's default.
    """

    messages: tuple[Message, ...] = Field(min_length=1)
    answers: tuple[str, ...] | None = None
    max_tokens: int = Field(default=256, ge=1)
    temperature: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    seed: int | None = None
    sample_index: int = Field(default=0, ge=0)
    prefill: str | None = None
    json_schema: dict[str, JsonValue] | None = None
    thinking: int | None = Field(default=None, ge=0)


class Usage(_Wire):
    """Tokens used, where the model says."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Reply(_Wire):
    """What came back. `status` is what the backend can know; what the text *means* is a Reading, made elsewhere.

    Attributes:
        status: completed, truncated (hit max_tokens), filtered (by the provider) or failed.
        text: The raw answer, always kept.
        reason: Why it failed or was filtered, in words, free of secrets.
        answer_logprobs: Natural-log probability of each requested answer, summed over its token variants; -inf is
            never stored: an answer that a truncated list does not show is absent.
        mass_outside: Probability of anything but the requested answers at the answer position.
        logprob_floor: The smallest log-probability that the model's (truncated) list showed; absent answers lie below.
        thinking_text: Reasoning, kept apart from the answer.
        provenance: URL, latency, batch id and the like. Never part of identity.
    """

    status: ReplyStatus
    text: str = ""
    reason: str | None = None
    answer_logprobs: dict[str, float] | None = None
    mass_outside: float | None = None
    logprob_floor: float | None = None
    thinking_text: str | None = None
    usage: Usage = Usage()
    provenance: dict[str, JsonValue] = Field(default_factory=dict)


class ModelRef(_Wire):
    """Names a model so that it can be stored, resumed after a kill, sent elsewhere and opened again.

    Attributes:
        provider: Which registered backend opens it ("organism", "simulated", "transformers", ...).
        model: Base model: a name, a hub id or a folder.
        revision: Exact version of the base (commit, or hash of the weights).
        adapter: Identity of what was trained on top: content hash, or a job's model name.
        parent: The model this one was trained from.
        settings: Plain JSON that the provider needs to open it and that is part of its identity.
        location: Where the adapter's weights lie. Provenance, not identity: a moved folder is the same model.

    Example:
        >>> ref = ModelRef(provider="organism", model="shared")
        >>> ModelRef.model_validate_json(ref.model_dump_json()) == ref
        True
    """

    provider: str = Field(min_length=1)
    model: str = Field(min_length=1)
    revision: str | None = None
    adapter: str | None = None
    parent: ModelRef | None = None
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    location: str | None = None

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        # The settings of a simulated agent are all that it knows.
        for name, value in super().__repr_args__():
            text = canonical(value) if name == "settings" else ""
            yield name, value if len(text) <= 200 else f"{len(text):,} characters"

    def identity(self) -> dict[str, JsonValue]:
        """What makes this model this model: everything but where it lies and how it was made."""
        return self.model_dump(mode="json", exclude={"location", "parent"}, exclude_none=True)

    @property
    def key(self) -> str:
        """Short content hash of `identity()`, used in rows and cache keys."""
        return hashlib.blake2b(canonical(self.identity()).encode(), digest_size=10).hexdigest()

    def __str__(self) -> str:
        tail = f"+{self.adapter[:12]}" if self.adapter else ""
        return f"{self.provider}/{self.model}{tail}"


class ModelInfo(_Wire):
    """Identity of an opened model, as verified on opening."""

    ref: ModelRef
    context_length: int | None = None
    n_parameters: int | None = None

    @property
    def key(self) -> str:
        """The key of the model's reference."""
        return self.ref.key


class Capabilities(_Wire):
    """What a model was *seen* to do. `calls` counts the requests spent on finding out."""

    answer_logprobs: bool
    complete_logprobs: bool = False
    system_role: bool = True
    seed: bool = False
    prefill: bool = False
    json_schema: bool = False
    thinking: bool = False
    n: bool = False
    calls: int = 0
    notes: tuple[str, ...] = ()
