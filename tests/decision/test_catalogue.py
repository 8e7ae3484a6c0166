"""Promises of the shipped contexts."""

from __future__ import annotations

import re

import numpy as np
import pytest

from introspect.decision import TrialGenerator, check_leakage
from introspect.decision.catalogue import catalogue
from introspect.decision.scenario import DecisionScenario
from introspect.decision.styles import ChatStyle

CONTEXTS = list(catalogue())


def normal(text: str) -> str:
    return re.sub(r"[\s_\-]+", "", text).casefold()


def test_forty_contexts_with_five_numeric_attributes() -> None:
    assert len(CONTEXTS) == 40
    for context in CONTEXTS:
        assert [a.kind for a in context.attributes] == ["numeric"] * 5


def test_no_chooser_item_or_attribute_comes_twice() -> None:
    for texts in (
        [c.id for c in CONTEXTS],
        [c.chooser for c in CONTEXTS],
        [c.item for c in CONTEXTS],
        [c.question for c in CONTEXTS],
        [a.name for c in CONTEXTS for a in c.attributes],
    ):
        assert len(set(map(normal, texts))) == len(texts)
    for parity in (0, 1):
        assert check_leakage(CONTEXTS[parity::2], CONTEXTS[1 - parity :: 2]).clean


@pytest.mark.parametrize("context", CONTEXTS, ids=lambda c: c.id)
def test_a_context_can_be_asked_about(context: DecisionScenario) -> None:
    assert context.question.endswith("?")
    words = set(re.findall(r"\w+", context.question)) & set(re.findall(r"\w+", context.chooser))
    assert words - {"a", "the", "of"}, "the question names the chooser"
    for attribute in context.attributes:
        assert attribute.grid.n >= 5, f"{attribute.name} has hardly any values"
    style = ChatStyle(show_ranges=True)
    trials = TrialGenerator().trials([context], 20, rng=1)
    for scenario, trial in trials:
        prompt = style.choice(scenario, trial)
        assert style.read(prompt.messages) == prompt.content
    (block,) = trials.blocks
    low, high = (np.array([getattr(a, end) for a in context.attributes]) for end in ("low", "high"))
    assert ((low <= block.values) & (block.values <= high)).all()


def test_loading_twice_gives_the_same_set() -> None:
    assert catalogue() is catalogue()
