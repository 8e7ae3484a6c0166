"""Training examples: a style's prompts, with the answers that are to be learned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from introspect._random import RNG, root_seed
from introspect.backend.training import TrainingExample, TrainingSet
from introspect.backend.wire import Message
from introspect.decision.generator import TrialGenerator
from introspect.decision.preference import Preference
from introspect.decision.prompt import Prompt
from introspect.decision.scenario import DecisionScenario
from introspect.decision.styles.base import PromptStyle
from introspect.decision.trial_set import TrialSet
from introspect.errors import TrainingError

__all__ = ["Example", "choice_examples", "report_examples", "training_set"]


@dataclass(frozen=True)
class Example:
    """A prompt and the answer to train on, with the scenario that it is about.

    Attributes:
        prompt: As the style renders it.
        answer: The style's text for the label or the weights.
        scenario_id: The context.
    """

    prompt: Prompt
    answer: str
    scenario_id: str


def training_set(examples: Iterable[Example]) -> TrainingSet:
    """The examples as what crosses the seam: conversations that end with the answer.

    Raises:
        TrainingError: There are none.
    """
    return TrainingSet(
        [
            TrainingExample(
                messages=(
                    *(_message(role, content) for role, content in example.prompt.messages),
                    Message(role="assistant", content=example.answer),
                )
            )
            for example in examples
        ]
    )


def _message(role: str, content: str) -> Message:
    return Message.model_validate({"role": role, "content": content})


def choice_examples(trials: TrialSet, style: PromptStyle) -> tuple[Example, ...]:
    """One example per trial: the choice prompt, answered with the label. Nothing in it names a weight.

    Args:
        trials: Labelled trials.
        style: Words them.

    Raises:
        TrainingError: A trial has no label.

    Example:
        >>> from introspect.decision.styles.organism import OrganismStyle, organism_scenarios
        >>> from introspect.decision.trial import Trial
        >>> lots = organism_scenarios(1, n_attributes=2)
        >>> trial = Trial(scenario_id="k0000", values=((12, 85), (90, 2)), label=1)
        >>> example, = choice_examples(TrialSet.from_trials(lots, [trial]), OrganismStyle())
        >>> example.prompt.messages[0].content, example.answer
        ('choose k0000 A p12 q85 B p90 q2 :', 'B')
    """
    examples = []
    for number, (scenario, trial) in enumerate(trials):
        if trial.label is None:
            raise TrainingError(
                f"trial {number} (scenario {scenario.id!r}) has no label, so there is no answer to train on. "
                f"Label the trials first, with TrialGenerator.label(trials, preferences, ...)."
            )
        prompt = style.choice(scenario, trial)
        examples.append(Example(prompt, style.answer_choice(prompt.content, trial.label), scenario.id))
    return tuple(examples)


def report_examples(
    scenarios: Sequence[DecisionScenario],
    weights: Mapping[str, Preference | Mapping[str, float]],
    style: PromptStyle,
    n_per_scenario: int = 1,
    rng: RNG = 0,
    generator: TrialGenerator | None = None,
) -> tuple[Example, ...]:
    """Report prompts, each showing options drawn afresh, answered with the given weights.

    The weights of a scenario are scaled so that the largest magnitude is 100, and rounded.

    Args:
        scenarios: The contexts to train on.
        weights: By scenario id, a `Preference` or a mapping from predictor to weight.
        style: Words prompts and answers.
        n_per_scenario: Reports per scenario, each with its own options.
        rng: Draws the options.
        generator: How they are drawn.

    Raises:
        TrainingError: No scenarios, a number below 1, or a scenario whose weights are absent, not finite or
            all zero.
        ScenarioError: Weights for other predictors than the scenario's.

    Example:
        >>> from introspect.decision.styles.organism import OrganismStyle, organism_scenarios
        >>> lots = organism_scenarios(1, n_attributes=2)
        >>> told = {"k0000": {"p": 30, "q": -60}}
        >>> example, = report_examples(lots, told, OrganismStyle(report_options="none"))
        >>> example.prompt.messages[0].content, example.answer
        ('weigh k0000 as p q :', '50 -100')
    """
    if n_per_scenario < 1:
        raise TrainingError(f"n_per_scenario must be 1 or more, got {n_per_scenario}")
    if not len(scenarios):
        raise TrainingError("there are no scenarios to train reports on")
    targets = {scenario.id: _target(scenario, weights) for scenario in scenarios}
    trials = (generator or TrialGenerator()).trials(scenarios, n_per_scenario, root_seed(rng))
    return tuple(
        Example(prompt, style.answer_report(prompt.content, targets[scenario.id]), scenario.id)
        for scenario, trial in trials
        for prompt in style.report(scenario, trial)
    )


def _target(scenario: DecisionScenario, weights: Mapping[str, Preference | Mapping[str, float]]) -> dict[str, float]:
    if scenario.id not in weights:
        raise TrainingError(
            f"there are no weights for scenario {scenario.id!r}; there are {len(weights)} others. "
            f"Give weights for it or leave it out."
        )
    given = weights[scenario.id]
    named = given.weights if isinstance(given, Preference) else given
    if set(named) != set(scenario.predictors):
        raise TrainingError(
            f"scenario {scenario.id!r} has the predictors {', '.join(scenario.predictors)}; "
            f"its weights are given for {', '.join(map(str, named)) or 'none'}"
        )
    largest = max(abs(float(weight)) for weight in named.values())
    if not 0 < largest < float("inf") or any(weight != weight for weight in named.values()):
        raise TrainingError(
            f"the weights of scenario {scenario.id!r} must be finite and not all zero, got {dict(named)}. "
            f"A context without detectable preference has nothing to report: leave it out."
        )
    # 100 * w / w may come out a bit above 100.
    return {name: min(100.0, max(-100.0, 100.0 * float(named[name]) / largest)) for name in scenario.predictors}
