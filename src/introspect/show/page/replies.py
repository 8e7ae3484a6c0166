"""Every prompt and raw reply of a study, as compact JSON for the page."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from introspect.backend.wire import Message, ModelInfo, Reply, Request
from introspect.decision import ChatMessage, PromptStyle, ScenarioSet
from introspect.errors import ConfigError, PromptError
from introspect.measure.ask import status_of
from introspect.store import ReplyRow, Store

__all__ = ["ReplyPage", "collect_replies"]

_MAX_TEXT = 100_000  # characters of one text that the page carries; the study file keeps all


@dataclass
class ReplyPage:
    """What the page's browser of replies is made from.

    Attributes:
        strings: Texts that rows point to; prompts repeat, so each is kept once.
        rows: Per reply [model, context, kind, outcome, sample, prompt, text, extra]: indices into the lists below, the
            repeat, [role, string] pairs, the raw text and what else is known.
        models: Names of models.
        contexts: Ids of contexts; "" where a prompt belongs to none.
        kinds: choice, report or other.
        outcomes: What was read in the reply, or how it ended.
        tokens: Prompt and completion tokens by model, and how many replies told them.
    """

    strings: list[str] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    contexts: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    tokens: dict[str, list[int]] = field(default_factory=dict)

    def to_json(self) -> str:
        """ASCII only, so that no direction mark, no broken surrogate and no closing tag stands in the page's source."""
        plain = {
            "strings": self.strings,
            "rows": self.rows,
            "models": self.models,
            "contexts": self.contexts,
            "kinds": self.kinds,
            "outcomes": self.outcomes,
        }
        text = json.dumps(plain, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")

    def count(self, column: int, names: list[str]) -> dict[str, int]:
        """How many rows have each value of a column."""
        counts = dict.fromkeys(names, 0)
        for row in self.rows:
            counts[names[row[column]]] += 1
        return counts


def collect_replies(
    store: Store, style: PromptStyle | None, scenarios: ScenarioSet, model_names: dict[str, str]
) -> ReplyPage:
    """All replies of a study file, read with the study's own prompt style.

    Args:
        store: The open study file.
        style: Reads prompts and replies; None where it is not known, and outcomes are then how replies ended.
        scenarios: The study's contexts.
        model_names: Names to show, by key of the model's reference.

    Raises:
        StoreError: An entry's bytes have changed since it was written.
    """
    page, index = ReplyPage(), _Index()
    place = {(s.chooser, s.item, s.question): s.id for s in scenarios}
    models: dict[str, tuple[str, str]] = {}
    prompts: dict[str, tuple[Any, str, str]] = {}
    for row in _all_rows(store):
        if row.model not in models:
            models[row.model] = _model_name(row.model, model_names)
        try:
            request, reply = Request.model_validate_json(row.request), Reply.model_validate_json(row.reply)
        except ConfigError:
            continue  # of a version whose records this one cannot read; counted nowhere else either
        said = json.dumps([[m.role, m.content] for m in request.messages])
        if said not in prompts:
            prompts[said] = _content(style, request.messages, place)
        content, kind, context = prompts[said]
        outcome = _outcome(style, content, kind, reply)
        name = models[row.model][0]
        page.rows.append(
            [
                index.of(page.models, name),
                index.of(page.contexts, context),
                index.of(page.kinds, kind),
                index.of(page.outcomes, outcome),
                request.sample_index,
                [[m.role, index.of(page.strings, _cut(m.content))] for m in request.messages],
                _cut(reply.text),
                _extra(request, reply),
            ]
        )
        counted = page.tokens.setdefault(name, [0, 0, 0, 0])
        told = reply.usage.prompt_tokens is not None or reply.usage.completion_tokens is not None
        for k, n in enumerate((1, int(told), reply.usage.prompt_tokens or 0, reply.usage.completion_tokens or 0)):
            counted[k] += n
    return page


class _Index:
    """Where a value stands in a list, which it is added to when it is new."""

    def __init__(self) -> None:
        self._known: dict[int, dict[str, int]] = {}

    def of(self, values: list[str], value: str) -> int:
        known = self._known.setdefault(id(values), {})
        if value not in known:
            known[value] = len(values)
            values.append(value)
        return known[value]


def _all_rows(store: Store) -> Iterator[ReplyRow]:
    yield from store.replies()
    yield from store.failures()


def _content(
    style: PromptStyle | None, messages: tuple[Message, ...], place: dict[tuple[str, str, str], str]
) -> tuple[Any, str, str]:
    """What a prompt says, its kind and its context; (None, "other", "") where it is none of the study's prompts."""
    if style is None:
        return None, "other", ""
    try:
        content = style.read([ChatMessage(m.role, m.content) for m in messages])
    except (PromptError, ValueError):
        return None, "other", ""
    return content, content.kind, place.get((content.chooser, content.item, content.question), "")


def _outcome(style: PromptStyle | None, content: Any, kind: str, reply: Reply) -> str:
    if style is None or content is None:
        return reply.status
    if kind == "choice":
        choice = style.parse_choice(reply.text, content)
        chosen = "" if choice.chosen is None else f" {'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[choice.chosen]}"
        return f"{status_of([reply], choice.status)}{chosen}"
    return status_of([reply], style.parse_report([reply.text], [content]).status)


def _extra(request: Request, reply: Reply) -> dict[str, Any]:
    """What else is worth knowing of a reply, where there is anything."""
    more: dict[str, Any] = {}
    if reply.status != "completed":
        more["ended"] = reply.status
    if reply.reason:
        more["reason"] = _cut(reply.reason)
    if reply.thinking_text:
        more["thinking"] = _cut(reply.thinking_text)
    if reply.answer_logprobs:
        more["p"] = {answer: round(math.exp(log), 6) for answer, log in reply.answer_logprobs.items()}
    if reply.mass_outside is not None:
        more["outside"] = round(reply.mass_outside, 6)
    if request.temperature:
        more["temperature"] = request.temperature
    if request.prefill:
        more["prefill"] = _cut(request.prefill)
    if reply.usage.completion_tokens is not None or reply.usage.prompt_tokens is not None:
        more["tokens"] = [reply.usage.prompt_tokens, reply.usage.completion_tokens]
    return more


def _cut(text: str) -> str:
    # Half a surrogate pair is legal in JSON and in no file; a text of a million characters serves no reader.
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + f"\n[… {len(text) - _MAX_TEXT:,} characters more]"


def _model_name(text: str, names: dict[str, str]) -> tuple[str, str]:
    try:
        info = ModelInfo.model_validate_json(text)
    except ConfigError:
        return "unknown model", ""
    return names.get(info.key, str(info.ref)), info.key
