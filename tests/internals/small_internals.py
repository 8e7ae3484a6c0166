"""Facts and kinds small enough for tiny models."""

from __future__ import annotations

from introspect.internals.word_lists import Fact, Relation, word_lists

CAPITAL = Relation("capital", "The capital of {subject} is", "What is the capital of {subject}?")
FACTS = tuple(
    Fact(country, CAPITAL, city)
    for country, city in zip(word_lists()["country"], word_lists()["city"], strict=True)
)  # fmt: skip
KINDS = dict(word_lists())
