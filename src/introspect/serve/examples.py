"""Uploaded conversations as training examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from introspect.backend import Message, TrainingExample, TrainingSet
from introspect.errors import TrainingError
from introspect.serve.config import Limits
from introspect.serve.errors import ApiError
from introspect.serve.files import json_lines, plain_json

__all__ = ["read_examples"]

_FIELDS = {"messages", "tools", "functions", "parallel_tool_calls"}
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


def read_examples(path: Path, limits: Limits) -> tuple[TrainingSet, tuple[str, ...]]:
    """A file in OpenAI's chat format as a training set.

    Returns:
        The set, and what should be known about it.

    Raises:
        TrainingError: A line is not such a conversation, or one that nothing here can be trained on. The message
            names it.
    """
    examples, several = [], 0
    try:
        with path.open("rb") as file:
            for number, line in json_lines(file, limits):
                try:
                    messages, n_answers = _conversation(plain_json(line))
                except ValueError as error:
                    raise TrainingError(f"line {number}: {error}") from None
                examples.append(TrainingExample(messages=messages))
                several += n_answers > 1
    except ApiError as error:
        raise TrainingError(error.message) from None
    notes: tuple[str, ...] = ()
    if several:
        notes = (
            f"{several} of {len(examples)} conversations have more than one answer of the assistant to train on; only "
            "the last one of each is trained on here",
        )
    return TrainingSet(examples), notes


def _conversation(value: Any) -> tuple[tuple[Message, ...], int]:
    if not isinstance(value, dict) or not isinstance(value.get("messages"), list):
        raise ValueError('expected an object with a list "messages"')
    unknown = sorted(set(value) - _FIELDS)
    if unknown:
        raise ValueError(f"unknown field {unknown[0][:60]!r}")
    if value.get("tools") or value.get("functions"):
        raise ValueError("tools cannot be trained here")
    messages: list[Message] = []
    n_answers = 0
    for place, turn in enumerate(value["messages"], 1):
        where = f"message {place}"
        if not isinstance(turn, dict) or turn.get("role") not in _ROLES:
            raise ValueError(f"{where} has no role that can be trained on ({', '.join(_ROLES)})")
        unknown = sorted(set(turn) - {"role", "content", "name", "weight"})
        if unknown:
            raise ValueError(f"{where} has the field {unknown[0][:60]!r}, which cannot be trained on here")
        content = turn.get("content")
        if isinstance(content, list) and all(isinstance(p, dict) and p.get("type") == "text" for p in content):
            content = "".join(str(part.get("text", "")) for part in content)
        if not isinstance(content, str):
            raise ValueError(f"{where} has no text")
        weight = turn.get("weight", 1)
        if weight not in (0, 1) or isinstance(weight, bool):
            raise ValueError(f"{where} has the weight {weight!r}; 0 or 1 is possible")
        n_answers += turn["role"] == "assistant" and weight == 1
        messages.append(Message(role=_ROLES[turn["role"]], content=content))
    if len(messages) < 2 or messages[-1].role != "assistant" or not messages[-1].content:
        raise ValueError("the last of two or more messages must be a non-empty one of the assistant")
    if value["messages"][-1].get("weight", 1) == 0:
        raise ValueError("the last answer has the weight 0, so there is nothing to train on")
    return tuple(messages), n_answers
