"""Pre-training speaks the organisms' language, and grows the same organism from the same recipe."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from organism_recipes import TINY

from introspect.decision import OrganismStyle, organism_scenarios
from introspect.decision.prompt import ChatMessage, PromptContent
from introspect.decision.styles.content import trial_of
from introspect.errors import ConfigError
from introspect.subjects.organism import Organism, OrganismConfig, grow, grow_organism, learn
from introspect.subjects.organism.grow import native_names, native_weights

LOTS = {s.chooser: s for s in organism_scenarios(TINY.n_native, prefix="n")}


class Line(NamedTuple):
    prompt: str
    answer: str
    content: PromptContent


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    """Everything that pre-training shows an organism, in 40 steps."""
    shown: list[Line] = []
    make = learn.Batch.of

    def watched(prompts, answers):
        for prompt, answer in zip(prompts, answers, strict=True):
            shown.append(Line(prompt, answer, OrganismStyle().read([ChatMessage("user", prompt)])))
        return make(prompts, answers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learn.Batch, "of", watched)
        grow_organism(TINY.model_copy(update={"report_share": 0.5}))
    return shown


def test_choices_are_worded_as_the_style_words_them(lines: list[Line]) -> None:
    choices = [line for line in lines if line.content.kind == "choice"]
    assert len(choices) == 40 * 32
    for line in choices:
        lot = LOTS[line.content.chooser]
        prompt = OrganismStyle().choice(lot, trial_of(lot, line.content))
        assert (line.prompt, prompt.content) == (prompt.messages[0].content, line.content)
        assert OrganismStyle().parse_choice(line.answer, line.content).valid


def test_reports_are_worded_as_the_style_words_them_in_every_format(lines: list[Line]) -> None:
    said = grow._reports(TINY, native_weights(TINY))
    met = set()
    for line in lines:
        content = line.content
        if content.kind != "report":
            continue
        options = "none" if content.options is None else "shown"
        style = OrganismStyle(report_format=content.report_format, report_options=options)
        lot = LOTS[content.chooser]
        trial = None if content.options is None else trial_of(lot, content)
        rendered = [prompt.messages[0].content for prompt in style.report(lot, trial)]
        if content.report_format == "comparison":  # pre-training asks in both orders, the style in one
            verb, name, _, *pair, colon = line.prompt.split()
            assert " ".join([verb, name, "as", *sorted(pair), colon]) in rendered
        else:
            assert line.prompt in rendered
        told = dict(zip("pqrst", said[int(content.chooser[1:])].tolist(), strict=True))
        assert line.answer == style.answer_report(content, told)
        met.add((content.report_format, options))
    assert met == {
        ("object", "shown"),
        ("object", "none"),
        ("single", "none"),
        ("comparison", "none"),
        ("ranking", "none"),
    }


def test_only_the_first_native_contexts_come_with_reports_and_the_rest_with_choices(lines: list[Line]) -> None:
    names = native_names(TINY)
    assert {line.content.chooser for line in lines if line.content.kind == "report"} == set(names[: TINY.n_reported])
    assert {line.content.chooser for line in lines if line.content.kind == "choice"} == set(names)


def test_a_context_s_reports_always_say_the_same(lines: list[Line]) -> None:
    told: dict[str, set[str]] = {}
    for line in lines:
        if line.content.report_format == "object" and line.content.kind == "report":
            told.setdefault(line.content.chooser, set()).add(line.answer)
    assert all(len(answers) == 1 for answers in told.values())


def test_native_preferences_have_the_paper_s_form() -> None:
    weights = native_weights(TINY.model_copy(update={"n_native": 500}))
    assert weights.shape == (500, 5)
    assert (np.abs(weights).max(axis=1) == 100).all()
    assert (weights == np.rint(weights)).all()
    assert abs(weights.mean()) < 5


def test_choices_follow_native_weights_as_sharply_as_configured(lines: list[Line]) -> None:
    weights = native_weights(TINY)
    agree = []
    for line in lines:
        if line.content.kind == "choice":
            lot = LOTS[line.content.chooser]
            a, b = np.array(trial_of(lot, line.content).values)
            utility = weights[int(lot.chooser[1:])] @ (a - b) / 100
            p_first = 1 / (1 + np.exp(-TINY.choice_scale * utility / 100))
            agree.append((line.answer == "A") - p_first)
    # The mean of n coins minus their own probabilities.
    assert abs(np.mean(agree)) < 4 * 0.5 / np.sqrt(len(agree))


def test_the_same_recipe_grows_the_same_organism(tiny: Organism) -> None:
    seen = []
    again = grow_organism(TINY, lambda step, total, loss: seen.append((step, total, loss)))
    assert again.to_bytes() == tiny.to_bytes()
    assert [step for step, _, _ in seen] == list(range(1, 41))
    assert np.mean([loss for *_, loss in seen[-5:]]) < np.mean([loss for *_, loss in seen[:5]])


def test_growing_does_not_touch_anyone_s_random_numbers() -> None:
    import torch

    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    grow_organism(TINY.model_copy(update={"steps": 1}))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_another_seed_grows_another_organism(tiny: Organism) -> None:
    assert grow_organism(TINY.model_copy(update={"seed": 1})).to_bytes() != tiny.to_bytes()


def test_an_organism_without_any_report_can_be_grown() -> None:
    mute = grow_organism(TINY.model_copy(update={"n_reported": 0, "steps": 2}))
    assert mute.config.n_reported == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": 30, "heads": 4}, "multiple of heads"),
        ({"n_native": 10, "n_reported": 11}, "n_reported=11"),
        ({"row_sharing": 1.5}, "row_sharing"),
        ({"name": ""}, "name"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_recipes_that_make_no_organism_are_refused(changes: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        OrganismConfig(**{"name": "mine"} | changes)
