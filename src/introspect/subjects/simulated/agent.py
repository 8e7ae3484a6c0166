"""A decider whose weights, noise and honesty are known, because they are its parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import ConfigDict, Field

from introspect._checked import Checked
from introspect.backend.wire import ModelRef
from introspect.decision.preference import Preference
from introspect.decision.prompt import PromptContent
from introspect.decision.scenario import DecisionScenario
from introspect.errors import BackendError, IntrospectError, ScenarioError
from introspect.subjects.simulated.chance import gumbel, normal, unit
from introspect.subjects.simulated.memory import ContextMemory, Gauge, context_key, encode

__all__ = ["BEHAVIOUR", "SimulatedAgent"]

# Raised by hand whenever the same parameters begin to give other replies, so that stored replies are not
# believed.
BEHAVIOUR = "1"


class SimulatedAgent(Checked):
    """All that a simulated agent is: plain parameters, which a `ModelRef` carries in its settings.

    **Choices.** The utility of an option is the sum over predictors of weight x position in the attribute's
    range (weights +-100 over the range). The agent takes the option with the largest
    ``scale * utility / 100 + gumbel``, the first option gaining `side_bias`: its choices are softmax choices.
    In a share `lapse` of prompts the utility and the bias do not count. All noise belongs to the prompt's
    text and the request's `sample_index`, so the same request has the same answer in any order, batch and
    process; temperature has no effect.

    **Reports.** A reported weight is ``fidelity * own + (1 - fidelity) * guess + noise * normal``, clipped to
    +-100 and rounded: `own` is the weight it uses, `guess` a fixed random weight that has nothing to do with
    it, and the normal is drawn for each prompt. With as many uniform weights as one likes and no noise, the
    correlation of report and weight is ``fidelity / sqrt(fidelity**2 + (1 - fidelity)**2)``.

    **Contexts.** A context is a chooser and an item. One that was never trained has native weights that
    follow from `seed` and the texts alone. Ranges that a prompt does not show must be known from
    `with_scenarios` or from training (the range of the values seen); without either, numbers are compared
    relative to the larger one shown.

    Attributes:
        name: What the agent is called.
        seed: Which native weights, guesses and noise.
        scale: Logits per 100 weight points over an attribute's whole range; 5 is noisy, 10 moderate, 20
            sharp.
        lapse: Share of choices that are made without looking.
        side_bias: Logits that the first option has in advance.
        refusal_rate: Share of prompts that are declined.
        invalid_rate: Share of the other prompts that are answered beside the point.
        report_fidelity: 1 reports the weights that are used, 0 nothing but the guess.
        report_noise: Standard deviation of the error of one report, on the +-100 scale.
        report_sharing: How much of what report training does to the trained contexts happens to all others; 0
            is an agent that learns its reports by heart.
        report_half: Number of report examples that go half the way.
        logprobs: Whether replies carry log-probabilities of the answers.
        contexts: Memory by context, see `context_key`.

    Raises:
        BackendError: A parameter is out of its range, or there is none of that name.

    Example:
        >>> agent = SimulatedAgent(name="demo", scale=20.0, report_fidelity=1.0, report_noise=0.0)
        >>> SimulatedAgent.of(agent.ref) == agent
        True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    _error: ClassVar[type[IntrospectError]] = BackendError

    name: str = Field(default="agent", min_length=1)
    seed: int = Field(default=0, ge=0)
    scale: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    lapse: float = Field(default=0.0, ge=0, le=1)
    side_bias: float = Field(default=0.0, allow_inf_nan=False)
    refusal_rate: float = Field(default=0.0, ge=0, le=1)
    invalid_rate: float = Field(default=0.0, ge=0, le=1)
    report_fidelity: float = Field(default=0.4, ge=0, le=1)
    report_noise: float = Field(default=20.0, ge=0, allow_inf_nan=False)
    report_sharing: float = Field(default=1.0, ge=0, le=1)
    report_half: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    logprobs: bool = False
    contexts: dict[str, ContextMemory] = Field(default_factory=dict, repr=False)

    # As a reference

    @property
    def ref(self) -> ModelRef:
        """A reference that opens as this agent, anywhere."""
        return ModelRef(provider="simulated", model=self.name, revision=BEHAVIOUR, settings=self.settings)

    @property
    def settings(self) -> dict[str, Any]:
        """The parameters as plain JSON."""
        return self.model_dump(mode="json", exclude={"name"})

    @classmethod
    def of(cls, ref: ModelRef) -> SimulatedAgent:
        """The agent that a reference names; settings that it leaves out have their defaults.

        Raises:
            BackendError: Another provider's reference, another version's agent, or settings that are not an
                agent's.
        """
        if ref.provider != "simulated":
            raise BackendError(f"{ref} is a model of provider {ref.provider!r}, not a simulated agent")
        if ref.revision not in (None, BEHAVIOUR):
            raise BackendError(
                f"{ref} was made with behaviour version {ref.revision} of the simulated agent; this is "
                f"version {BEHAVIOUR}. Make it anew, or install the version of introspect that made it."
            )
        try:
            return cls(**{"name": ref.model, **ref.settings})
        except BackendError as error:
            said = str(error).removeprefix("SimulatedAgent: ")
            raise BackendError(f"{ref} is not a simulated agent: {said}") from None

    # What it knows

    def with_scenarios(self, scenarios: Sequence[DecisionScenario]) -> SimulatedAgent:
        """This agent, knowing the ranges and levels of these scenarios (as a language model knows what is
        usual).

        Weights that it has there stay as they are.
        """
        contexts = dict(self.contexts)
        for scenario in scenarios:
            key = context_key(scenario.chooser, scenario.item)
            new = ContextMemory.of(scenario)
            old = contexts.get(key)
            contexts[key] = new if old is None else old.model_copy(update={"gauges": {**old.gauges, **new.gauges}})
        return self.model_copy(update={"contexts": contexts})

    def with_preferences(
        self, scenarios: Sequence[DecisionScenario], preferences: Mapping[str, Preference | Mapping[str, float]]
    ) -> SimulatedAgent:
        """This agent, deciding in these scenarios by exactly these weights (a `Preference` each, or a plain mapping).

        Raises:
            ScenarioError: A scenario has no preference.

        Example:
            >>> from introspect.decision.attribute import Attribute
            >>> lamp = DecisionScenario(
            ...     id="lamp", chooser="the keeper", item="lamp", question="Which lamp?", attributes=(
            ...         Attribute(name="power", low=0, high=10), Attribute(name="cost", low=0, high=50)))
            >>> wants = Preference(scenario_id="lamp", weights={"power": 100, "cost": -40})
            >>> agent = SimulatedAgent().with_preferences([lamp], {"lamp": wants})
            >>> agent.preference(lamp).weights
            {'power': 100.0, 'cost': -40.0}
        """
        contexts = dict(self.contexts)
        for scenario in scenarios:
            if scenario.id not in preferences:
                raise ScenarioError(f"there is no preference for scenario {scenario.id!r}")
            wants = preferences[scenario.id]
            if isinstance(wants, Mapping):
                wants = Preference(scenario_id=scenario.id, weights=dict(wants))
            vector = wants.vector(scenario)
            weights = {name: float(weight) for name, weight in zip(scenario.predictors, vector, strict=True)}
            contexts[context_key(scenario.chooser, scenario.item)] = ContextMemory.of(scenario, weights)
        return self.model_copy(update={"contexts": contexts})

    def memory(self, content: PromptContent) -> ContextMemory | None:
        """What it holds about the context of a prompt; None where it was taught nothing."""
        return self.contexts.get(context_key(content.chooser, content.item))

    def preference(self, scenario: DecisionScenario) -> Preference:
        """The weights that it decides by in a scenario, over the scenario's declared ranges: the truth.

        A range that it has learned from values is a little off the declared one; the weight is converted.
        """
        key = context_key(scenario.chooser, scenario.item)
        memory = self.contexts.get(key)
        weights: dict[str, float] = {}
        for attribute in scenario.attributes:
            declared = Gauge.of(attribute)
            believed = memory.gauges.get(attribute.name) if memory else None
            if declared.levels:
                ends = declared.levels[0], declared.levels[-1]
                weights |= {p: self._level_weight(key, memory, p, ends) for p in attribute.predictors}
                continue
            stretch = 1.0
            if believed and not believed.levels and believed.log == declared.log:
                stretch = declared.width / believed.width if believed.width else 0.0
            weights[attribute.name] = stretch * self._weight(key, memory, attribute.name)
        return Preference(scenario_id=scenario.id, weights=weights)

    def _weight(self, key: str, memory: ContextMemory | None, predictor: str) -> float:
        if memory is not None and predictor in memory.weights:
            return memory.weights[predictor]
        return 200.0 * unit(self.seed, "native", key, predictor) - 100.0

    def _level_weight(self, key: str, memory: ContextMemory | None, predictor: str, ends: tuple[str, str]) -> float:
        """The weight of a levelled attribute's predictor, where its first and last level are these.

        Whoever does not know the levels decides by a worth of each level on its own, and reports the
        difference.
        """
        name, _, level = predictor.partition("=")
        if memory is not None and name in memory.gauges and memory.gauges[name].levels:
            return self._weight(key, memory, predictor)
        worth = self._weight(key, memory, f"{name}={level or ends[1]}")
        return worth - self._weight(key, memory, f"{name}={ends[0]}")

    # What it does

    def utilities(self, content: PromptContent) -> tuple[float, ...]:
        """Utility of each option of a choice prompt, in weight points."""
        key, memory = context_key(content.chooser, content.item), self.memory(content)
        return tuple(
            sum(self._weight(key, memory, predictor) * number for predictor, number in option.items())
            for option in encode(content, memory)
        )

    def probabilities(self, content: PromptContent) -> tuple[float, ...]:
        """How often it takes each option, over fresh noise and given that it answers.

        Example:
            >>> two = PromptContent("choice", "x", "y", "Which?", (), options=((), ()))
            >>> SimulatedAgent(lapse=0.5).probabilities(two)
            (0.5, 0.5)
        """
        logits = self._logits(content)
        powers = [math.exp(logit - max(logits)) for logit in logits]
        return tuple((1 - self.lapse) * power / sum(powers) + self.lapse / len(powers) for power in powers)

    def _logits(self, content: PromptContent) -> list[float]:
        logits = [self.scale * utility / 100.0 for utility in self.utilities(content)]
        logits[0] += self.side_bias
        return logits

    def felt_logits(self, content: PromptContent, prompt: str) -> list[float]:
        """Logits of the options as this very prompt makes them appear, noise and lapse included: the largest
        is taken.

        Args:
            content: What the prompt says.
            prompt: A name for the prompt, from which the noise follows.
        """
        lapsed = unit(self.seed, "lapse", prompt) < self.lapse
        logits = [0.0] * len(content.options or ()) if lapsed else self._logits(content)
        return [logit + gumbel(self.seed, "choice", prompt, k) for k, logit in enumerate(logits)]

    def reported(self, content: PromptContent, prompt: str) -> dict[str, int]:
        """The weights that it reports for what a report prompt asks, by predictor.

        Args:
            content: What the prompt says.
            prompt: A name for the prompt, from which the noise follows.
        """
        key = context_key(content.chooser, content.item)
        fidelity, noise = self.honesty(self.memory(content))
        told = {}
        for predictor, own in self.own_weights(content).items():
            guess = 200.0 * unit(self.seed, "guess", key, predictor) - 100.0
            said = fidelity * own + (1 - fidelity) * guess
            said += noise * normal(self.seed, "report", prompt, predictor) if noise else 0.0
            told[predictor] = round(min(100.0, max(-100.0, said)))
        return told

    def own_weights(self, content: PromptContent) -> dict[str, float]:
        """The weights that it uses for what a report prompt asks, by predictor."""
        key, memory = context_key(content.chooser, content.item), self.memory(content)
        ends = {
            attribute.name: attribute.bounds
            for attribute in content.attributes
            if attribute.bounds is not None and any(isinstance(bound, str) for bound in attribute.bounds)
        }
        own = {}
        for predictor in content.asked:
            between = ends.get(predictor.partition("=")[0])
            if between is None:
                own[predictor] = self._weight(key, memory, predictor)
            else:
                first, last = map(str, between)
                own[predictor] = self._level_weight(key, memory, predictor, (first, last))
        return own

    def honesty(self, memory: ContextMemory | None) -> tuple[float, float]:
        """Report fidelity and report noise in a context."""
        if memory is None:
            return self.report_fidelity, self.report_noise
        fidelity = self.report_fidelity if memory.fidelity is None else memory.fidelity
        return fidelity, self.report_noise if memory.noise is None else memory.noise
