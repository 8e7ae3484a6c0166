"""Facts and kinds small enough for tiny models."""

from __future__ import annotations

import re

from introspect.internals.questions import QUESTIONS
from introspect.internals.word_lists import Fact, Relation, word_lists

CAPITAL = Relation("capital", "The capital of {subject} is", "What is the capital of {subject}?")
FACTS = tuple(
    Fact(country, CAPITAL, city)
    for country, city in zip(word_lists()["country"], word_lists()["city"], strict=True)
)  # fmt: skip
KINDS = dict(word_lists())
_ASKED = " ".join(text for question in QUESTIONS.values() for text in question.wordings)
WORDS = tuple(sorted({*re.findall("[A-Za-z]{4,}", _ASKED), "thinking", "about", "next", "wrote", "down", "capital"}))
"""Of questions and stems: a tokenizer that knows them makes of a question twenty tokens in place of sixty letters."""
