"""Holding what a model writes to a JSON schema, token by token (llguidance)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from pydantic import JsonValue

from introspect.backend.local.chat import ChatCodec
from introspect.errors import BackendError, MissingExtraError

__all__ = ["SchemaGuide", "Schemas", "available"]

_SPACING = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}  # else a model may pad for ever


def available() -> bool:
    """Whether schemas can be enforced here."""
    return find_spec("llguidance") is not None


class SchemaGuide:
    """One reply under way.

    Args:
        matcher: From llguidance.
        stops: Tokens that end a turn.
    """

    def __init__(self, matcher: Any, stops: Collection[int]) -> None:
        self._matcher = matcher
        self._stops = sorted(stops)

    @property
    def finished(self) -> bool:
        """Whether nothing may follow."""
        return bool(self._matcher.is_stopped())

    def allow(self, logits: torch.Tensor) -> torch.Tensor:
        """The logits, [vocabulary], with minus infinity at tokens that the schema does not allow here."""
        allowed = np.zeros(len(logits), dtype=bool)
        bias = np.frombuffer(self._matcher.compute_logit_bias(), dtype=np.uint8)[: len(logits)]
        allowed[: len(bias)] = bias > 0
        allowed[self._stops] = self._matcher.is_accepting()
        return logits.masked_fill(~torch.from_numpy(allowed).to(logits.device), -torch.inf)

    def take(self, token: int) -> None:
        """Go on after this token."""
        self._matcher.consume_token(token)


class Schemas:
    """Starts guides for one tokenizer.

    Args:
        codec: The model's codec.
    """

    def __init__(self, codec: ChatCodec) -> None:
        self._codec = codec
        self._tokenizer: Any = None
        self._grammars: dict[str, str] = {}

    def start(self, schema: Mapping[str, JsonValue], prefill: str | None = None) -> SchemaGuide:
        """A guide for one reply, past its prefill.

        Raises:
            MissingExtraError: llguidance is not installed.
            BackendError: A schema that cannot be enforced, or a prefill that cannot begin what follows it.
        """
        try:
            from llguidance import LLMatcher
            from llguidance.hf import from_tokenizer
        except ImportError as error:
            raise MissingExtraError("llguidance", "structured") from error
        if self._tokenizer is None:
            self._tokenizer = from_tokenizer(self._codec.tokenizer)
        text = json.dumps(schema, sort_keys=False)
        if text not in self._grammars:
            try:
                self._grammars[text] = LLMatcher.grammar_from_json_schema(text, overrides=_SPACING)
            except ValueError as error:
                raise BackendError(f"this JSON schema cannot be enforced: {error}") from error
        matcher = LLMatcher(self._tokenizer, self._grammars[text], log_level=0)
        if matcher.is_error():
            raise BackendError(f"this JSON schema cannot be enforced: {str(matcher.get_error()).splitlines()[0]}")
        begun = self._codec.encode(prefill) if prefill else ()
        if matcher.try_consume_tokens(list(begun)) < len(begun):
            raise BackendError(f"the prefill {prefill!r} cannot begin a reply that follows the JSON schema")
        return SchemaGuide(matcher, self._codec.stop_ids)
