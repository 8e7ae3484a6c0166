"""Looked at before anything is paid for: a training set that cannot teach what it should is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from introspect.decision.labels import judged
from introspect.decision.rules.base import ChoiceRule
from introspect.decision.styles.base import PromptStyle
from introspect.decision.trial_set import TrialSet
from introspect.errors import PromptError, TrainingError
from introspect.training.examples import Example

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "TrainingWarning",
    "check_answers",
    "check_labels",
    "check_one_sided",
    "check_round_trip",
    "contradictions",
]

REFUSE_ABOVE = 0.9
"""Share of one answer beyond which a choice set is refused."""

WARN_ABOVE = 0.7
"""Share of one answer beyond which a choice set is warned of."""

_FEWEST = 20  # below so many answers, a one-sided set is nothing unusual
_SUSPICIOUS = 1e-4  # probability, under the stated noise, of as many contradictions: for the whole set
_SUSPICIOUS_CONTEXT = 1e-8  # and for one context, of which there are many


class TrainingWarning(UserWarning):
    """A training set or a tuned model that can be used, but should be looked at."""


def contradictions(trials: TrialSet, preferences: Mapping[str, ChoiceRule]) -> NDArray[np.bool_]:
    """Which labels take an option that these preferences (or rules) do not prefer: bool [len(trials)]. Exact ties
    contradict nothing.

    Raises:
        TrainingError: A scenario has no preference.
        ScenarioError: A preference does not fit its scenario.
    """
    parts = [np.empty(0, dtype=np.bool_)]
    for block in trials.blocks:
        missing = [s.id for s in block.scenarios if s.id not in preferences]
        if missing:
            raise TrainingError(
                f"there is no preference for {len(missing)} of the trials' scenarios, the first of them {missing[0]!r}"
            )
        utility, magnitude = judged(block, preferences)
        taken = np.take_along_axis(utility, np.maximum(block.label, 0)[:, None].astype(np.intp), axis=1)[:, 0]
        tolerance = 1e-9 * magnitude[block.scenario_index]
        parts.append(taken < utility.max(axis=1) - tolerance)
    return np.concatenate(parts)


def check_labels(trials: TrialSet, preferences: Mapping[str, ChoiceRule] | None, label_noise: float = 0.0) -> None:
    """Refuse trials without labels, and labels that contradict the preferences more often than the noise
    explains.

    The number of contradictions is held against a binomial with `label_noise`, over all trials and within
    each context; without label noise a single one is too many. Labels of other contexts' preferences
    contradict about half the time.

    Args:
        trials: Labelled trials.
        preferences: What the labels are supposed to follow; None skips the comparison.
        label_noise: Expected share of labels against the preferences.

    Raises:
        TrainingError: One line that says how many, and where.

    Example:
        >>> from introspect.decision.preference import Preference
        >>> from introspect.decision.styles.organism import organism_scenarios
        >>> from introspect.decision.trial import Trial
        >>> lots = organism_scenarios(1, n_attributes=2)
        >>> trial = Trial(scenario_id="k0000", values=((12, 85), (90, 2)), label=1)
        >>> wants = Preference(scenario_id="k0000", weights={"p": -100, "q": 5})
        >>> check_labels(TrialSet.from_trials(lots, [trial]), {"k0000": wants})
        Traceback (most recent call last):
        introspect.errors.TrainingError: 1 of 1 labels (100 %) contradict the preferences given, ...
    """
    if not 0 <= label_noise < 0.5:
        raise TrainingError(f"label_noise is a share from 0 to below 0.5, got {label_noise}")
    if not len(trials):
        raise TrainingError("there are no trials to train on")
    unlabelled = int((trials.labels < 0).sum())
    if unlabelled:
        raise TrainingError(
            f"{unlabelled} of {len(trials)} trials have no label, so there is no answer to train on. "
            f"Label them first, with TrialGenerator.label(trials, preferences, ...)."
        )
    if preferences is None:
        return
    wrong = contradictions(trials, preferences)
    if _too_many(int(wrong.sum()), len(wrong), label_noise, _SUSPICIOUS):
        raise TrainingError(_sentence(int(wrong.sum()), len(wrong), label_noise, ""))
    ids, context = np.unique(trials.scenario_ids, return_inverse=True)
    n_wrong, n = np.bincount(context, weights=wrong), np.bincount(context)
    for k in np.flatnonzero(n_wrong > label_noise * n):
        if _too_many(int(n_wrong[k]), int(n[k]), label_noise, _SUSPICIOUS_CONTEXT):
            raise TrainingError(_sentence(int(n_wrong[k]), int(n[k]), label_noise, f" in scenario {str(ids[k])!r}"))


def _too_many(wrong: int, n: int, noise: float, limit: float) -> bool:
    if noise == 0.0:
        return wrong > 0
    from scipy.stats import binom

    return float(binom.sf(wrong - 1, n, noise)) < limit


def _sentence(wrong: int, n: int, noise: float, where: str) -> str:
    return (
        f"{wrong} of {n} labels{where} ({100 * wrong / n:.0f} %) contradict the preferences given, "
        f"with a stated label noise of {100 * noise:g} %. Either the preferences belong to other scenarios, "
        f"or the labels are noisier than stated: pass the preferences that the trials were "
        f"labelled with, or the right label_noise."
    )


def check_one_sided(trials: TrialSet) -> tuple[str, ...]:
    """Refuse a set in which nearly all answers are the same letter; warn of a lopsided one.

    A model learns the letter before it learns the weights. Sets of fewer than 20 trials pass.

    Returns:
        Warnings, as sentences.

    Raises:
        TrainingError: More than 90 % of the labels are one and the same.
    """
    labels = trials.labels
    if len(labels) < _FEWEST:
        return ()
    counts = np.bincount(labels)
    share, letter = float(counts.max() / len(labels)), chr(ord("A") + int(counts.argmax()))
    said = f"{100 * share:.0f} % of the {len(labels)} training answers are {letter!r}"
    if share > REFUSE_ABOVE:
        raise TrainingError(
            f"{said}: a model would learn the letter and nothing else. "
            f"Balance the sides, for example with TrialGenerator(counterbalance=True)."
        )
    if share > WARN_ABOVE:
        return (f"{said}: a lopsided set teaches a side bias along with the weights",)
    return ()


def check_answers(examples: Sequence[Example], *, noisy: bool = False) -> tuple[str, ...]:
    """Refuse examples that give two answers to the same prompt, unless the labels are noisy by intent.

    Returns:
        Warnings, as sentences.

    Raises:
        TrainingError: There are such, and the labels were said to be free of noise.
    """
    answers: dict[object, set[str]] = {}
    for example in examples:
        answers.setdefault(example.prompt.messages, set()).add(example.answer)
    torn = [prompt for prompt, given in answers.items() if len(given) > 1]
    if not torn:
        return ()
    said = f"{len(torn)} of {len(answers)} training prompts come with two different answers"
    if not noisy:
        scenario = next(e.scenario_id for e in examples if e.prompt.messages == torn[0])
        raise TrainingError(f"{said}, the first of them in scenario {scenario!r}: a model can learn only one of them")
    return (said,)


def check_round_trip(examples: Sequence[Example], style: PromptStyle, most: int = 64) -> None:
    """Refuse examples that their own style does not read back: the model would be trained on something else.

    Args:
        examples: What is to be trained on; evenly spaced ones are looked at.
        style: The style they were rendered in.
        most: How many.

    Raises:
        TrainingError: Naming the scenario and what was read instead.
    """
    n = min(most, len(examples))
    for k in np.unique(np.linspace(0, len(examples) - 1, num=n).astype(int)):
        example = examples[int(k)]
        try:
            content = style.read(example.prompt.messages)
        except PromptError as error:
            raise TrainingError(
                f"style {style.id} cannot read its own prompt ({example.scenario_id}): {error}"
            ) from error
        if content != example.prompt.content:
            raise TrainingError(
                f"style {style.id} reads its own prompt for scenario {example.scenario_id!r} as something "
                f"else: {content} instead of {example.prompt.content}"
            )
        if content.kind == "choice":
            status: str = style.parse_choice(example.answer, content).status
        else:
            status = style.parse_report([example.answer], [content]).status
        if status != "answered":
            raise TrainingError(
                f"style {style.id} reads its own training answer {example.answer!r} for scenario "
                f"{example.scenario_id!r} as {status}"
            )
