"""Hypothesis strategies for the records of `introspect.decision`.

Use them to test your own prompt style, probe or domain against any legal input:

    @given(trial_sets(scenario_sets(attributes=attributes(kinds=("numeric",)))))
    def test_my_style_reads_what_it_writes(trials): ...
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np

from introspect.backend.wire import Reply, Usage
from introspect.decision.attribute import Attribute, AttributeKind
from introspect.decision.preference import Preference
from introspect.decision.preference_set import PreferenceSet
from introspect.decision.scenario import DecisionScenario
from introspect.decision.scenario_set import ScenarioSet
from introspect.decision.trial import Trial
from introspect.decision.trial_block import TrialBlock
from introspect.decision.trial_set import TrialSet
from introspect.errors import MissingExtraError

try:
    from hypothesis import strategies as st
    from hypothesis.strategies import SearchStrategy
except ImportError:  # pragma: no cover
    raise MissingExtraError("hypothesis", "testing") from None

__all__ = [
    "attributes",
    "preference_sets",
    "preferences",
    "replies",
    "reply_texts",
    "scenario_sets",
    "scenarios",
    "texts",
    "trial_sets",
    "trials",
]


@cache  # strategies are costly to make and free to share
def texts(max_size: int = 12, exclude: str = "") -> SearchStrategy[str]:
    """One line of any text that a record accepts: no control characters, not empty, no space at either end."""
    letters = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters=exclude)
    plain = st.text("abcdefghijklmnopqrstuvwxyz_ -:'\"", min_size=1, max_size=max_size)
    wild = st.text(letters, min_size=1, max_size=max_size)
    return (plain | wild).map(str.strip).filter(bool)


@st.composite
def attributes(
    draw: st.DrawFn,
    kinds: Sequence[AttributeKind] = ("numeric", "ordered", "categorical"),
    log_scale: bool = True,
    names: SearchStrategy[str] | None = None,
) -> Attribute:
    """Attributes of these kinds; numeric ones of many widths, with and without a step, linear and log."""
    name = draw(texts(exclude="=") if names is None else names)
    kind = draw(st.sampled_from(list(kinds)))
    if kind != "numeric":
        levels = draw(st.lists(texts(8), min_size=2, max_size=5, unique=True))
        return Attribute(name=name, levels=tuple(levels), ordered=kind == "ordered")
    digits = draw(st.integers(-2, 4))
    log = log_scale and draw(st.booleans())
    low = draw(st.integers(1 if log else -5000, 5000))
    width = draw(st.integers(1, 5000))
    step = draw(st.none() | st.integers(1, width))
    return Attribute(
        name=name,
        unit=draw(st.just("") | texts(6)),
        low=_scaled(low, digits),
        high=_scaled(low + width, digits),
        step=None if step is None else _scaled(step, digits),
        scale="log" if log else "linear",
    )


@st.composite
def scenarios(
    draw: st.DrawFn,
    attributes: SearchStrategy[Attribute] | None = None,
    min_attributes: int = 2,
    max_attributes: int = 6,
    ids: SearchStrategy[str] | None = None,
) -> DecisionScenario:
    """Scenarios with any legal words."""
    axes = draw(
        st.lists(
            _any_attribute() if attributes is None else attributes,
            min_size=min_attributes,
            max_size=max_attributes,
            unique_by=lambda axis: axis.name,
        )
    )
    return DecisionScenario(
        id=draw(texts() if ids is None else ids),
        chooser=draw(texts()),
        item=draw(texts()),
        question=draw(texts(24)),
        attributes=tuple(axes),
        tags=tuple(draw(st.lists(texts(6), max_size=2))),
    )


def scenario_sets(
    scenarios: SearchStrategy[DecisionScenario] | None = None, min_size: int = 1, max_size: int = 4
) -> SearchStrategy[ScenarioSet]:
    """Sets of scenarios with unique ids, of mixed shapes unless the scenarios given are alike."""
    one = _any_scenario() if scenarios is None else scenarios
    rows = st.lists(one, min_size=min_size, max_size=max_size, unique_by=lambda scenario: scenario.id)
    return rows.map(ScenarioSet)


def preferences(scenario: DecisionScenario, whole: bool = True) -> SearchStrategy[Preference]:
    """Preferences of one scenario, from -100 to 100, with at least one weight that is not 0."""
    weight: SearchStrategy[Any] = st.integers(-100, 100) if whole else st.floats(-100, 100, allow_subnormal=False)
    n = scenario.n_predictors
    vectors = st.lists(weight, min_size=n, max_size=n).filter(lambda row: any(abs(w) > 1e-6 for w in row))
    return vectors.map(lambda row: Preference.of(scenario, row))


def preference_sets(scenarios: Sequence[DecisionScenario], whole: bool = True) -> SearchStrategy[PreferenceSet]:
    """One preference for each of these scenarios."""
    return st.tuples(*(preferences(s, whole) for s in scenarios)).map(PreferenceSet)


@st.composite
def trial_sets(
    draw: st.DrawFn,
    scenarios: SearchStrategy[ScenarioSet] | None = None,
    max_trials: int = 5,
    n_options: SearchStrategy[int] | None = None,
    labelled: bool | None = None,
) -> TrialSet:
    """Trials on the grids of some scenarios, with any flips and listing orders; ties may occur.

    Args:
        draw: Given by hypothesis.
        scenarios: Where the trials come from.
        max_trials: Per scenario.
        n_options: Options per trial; two to four by default.
        labelled: All trials labelled, none, or (None) some.
    """
    blocks = []
    for scenario in draw(scenario_sets() if scenarios is None else scenarios):
        options = draw(st.integers(2, 4) if n_options is None else n_options)
        low, high = {True: (0, options - 1), False: (-1, -1), None: (-1, options - 1)}[labelled]
        places = st.tuples(*(st.integers(0, axis.grid.n - 1) for axis in scenario.attributes))
        row = st.tuples(
            st.tuples(*[places] * options),
            st.integers(low, high),
            st.booleans(),
            st.permutations(range(scenario.n_attributes)),
        )
        rows = draw(st.lists(row, min_size=1, max_size=max_trials))
        grid = np.array([row[0] for row in rows], dtype=np.int64)
        values = np.stack([axis.grid.at(grid[..., k]) for k, axis in enumerate(scenario.attributes)], axis=-1)
        blocks.append(
            TrialBlock.of(
                (scenario,),
                np.zeros(len(rows)),
                values,
                label=[row[1] for row in rows],
                flipped=[row[2] for row in rows],
                order=[row[3] for row in rows],
            )
        )
    return TrialSet(blocks)


def _scaled(number: int, digits: int) -> float:
    return float(Decimal(number).scaleb(-digits))


def _any_attribute() -> SearchStrategy[Attribute]:
    return attributes()


def _any_scenario() -> SearchStrategy[DecisionScenario]:
    return scenarios()


@st.composite
def replies(draw: st.DrawFn, answers: Sequence[str] | None = ("A", "B")) -> Reply:
    """Replies that a backend may legally give to a request with these answers: of every status, with any text.

    Args:
        draw: Given by hypothesis.
        answers: What the request named; None where it named none, and log-probabilities are not given.
    """
    status = draw(st.sampled_from(["completed", "truncated", "filtered", "failed"]))
    if status in ("failed", "filtered"):
        return Reply(status=status, reason=draw(texts(24)), text=draw(st.just("") | reply_texts(answers)))
    given = None
    mass = None
    if answers is not None and draw(st.booleans()):
        shares = draw(st.lists(st.floats(1e-6, 1), min_size=len(answers) + 1, max_size=len(answers) + 1))
        total = sum(shares) * (1 + 1e-9)
        known = draw(st.sets(st.sampled_from(list(answers)), min_size=1))
        logs = {answer: float(np.log(share / total)) for answer, share in zip(answers, shares, strict=False)}
        given = {answer: log for answer, log in logs.items() if answer in known}
        mass = float(min(1.0, max(0.0, 1 - sum(np.exp(list(given.values()))))))
    return Reply(
        status=status,
        text=draw(reply_texts(answers)),
        answer_logprobs=given,
        mass_outside=mass,
        thinking_text=draw(st.none() | st.text(max_size=20)),
        usage=Usage(prompt_tokens=draw(st.none() | st.integers(0, 9999)), completion_tokens=None),
    )


def reply_texts(answers: Sequence[str] | None = ("A", "B")) -> SearchStrategy[str]:
    """What a model may write: an answer, an answer in words, a refusal, JSON of any make, or anything at all."""
    words = list(answers or ("A", "B"))
    answer = st.sampled_from(words)
    around = ["{}.", "**{}**", "Answer: {}", "<think>hm</think>{}", "I would take {} here.", '{{"x": {}}}']
    wrapped = st.sampled_from(around)
    said = st.tuples(wrapped, answer).map(lambda pair: pair[0].format(pair[1]))
    refusal = st.sampled_from(["I'm sorry, but I can't.", "As an AI I have no preference.", ""])
    weights = st.dictionaries(st.text(max_size=8), st.integers(-200, 200) | st.text(max_size=3), max_size=4)
    return answer | said | refusal | weights.map(json.dumps) | st.text(max_size=60)


def trials(scenario: DecisionScenario, n_options: int = 2) -> SearchStrategy[Trial]:
    """Single trials of one scenario: options on its grid, with and without a label."""
    one = st.tuples(*(st.integers(0, axis.grid.n - 1) for axis in scenario.attributes))
    rows = st.tuples(st.lists(one, min_size=n_options, max_size=n_options), st.integers(-1, n_options - 1))

    def made(row: tuple[list[tuple[int, ...]], int]) -> Trial:
        axes = scenario.attributes
        values = tuple(
            tuple(float(a.grid.at(np.array(k))) for a, k in zip(axes, option, strict=True)) for option in row[0]
        )
        return Trial(scenario_id=scenario.id, values=values, label=None if row[1] < 0 else row[1])

    return rows.map(made)
