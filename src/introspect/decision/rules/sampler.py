"""Hidden rules, drawn at random."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from introspect._random import RNG, root_seed, stream
from introspect.decision._model import Record
from introspect.decision.preference import Preference
from introspect.decision.rules.base import ChoiceRule
from introspect.decision.rules.interaction import InteractionRule, product_pairs
from introspect.decision.rules.lexicographic import Criterion, LexicographicRule
from introspect.decision.rules.rule_set import RuleSet
from introspect.decision.rules.screening import Cutoff, ScreeningRule
from introspect.decision.scenario import DecisionScenario
from introspect.errors import ScenarioError

__all__ = ["RuleKind", "RuleSampler"]

RuleKind = Literal["linear", "interaction", "screening", "lexicographic"]


class RuleSampler(Record):
    """Draws one rule per scenario. The draw depends on the seed and on that scenario alone.

    Args:
        kind: "linear": weights uniform in [-100, 100]. "interaction": the same and `n_interactions` pairs of
            predictors of different attributes, with magnitudes from `strength` / 2 to `strength` times 100 and
            either sign. "screening": the same weights and cut-offs on `n_cutoffs` attributes, at their worse
            ends. "lexicographic": every numeric or ordered attribute in random order and direction.
            Weights are scaled to a largest magnitude of 100.
        n_interactions: Pairs, at most as many as there are.
        strength: Of the interactions. At 2 a pair moves utility about as much as a main effect.
        n_cutoffs: Attributes with a cut-off.
        ruled_out: Share of its attribute's range that a cut-off rules out.
        threshold: Just noticeable difference, as a share of the range, of every turn of a lexicographic rule.

    Raises:
        ScenarioError: A setting is out of range.

    Example:
        >>> from introspect.decision.attribute import Attribute
        >>> axes = [Attribute(name=n, low=0, high=100) for n in "pqrst"]
        >>> k = DecisionScenario(id="k1", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        >>> rule = RuleSampler(kind="screening").sample([k], rng=0)["k1"]
        >>> len(rule.cutoffs), max(abs(w) for w in rule.weights.values())
        (2, 100.0)
    """

    _kind: ClassVar[str] = "rule sampler"

    kind: RuleKind
    n_interactions: int = Field(default=3, ge=1)
    strength: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    n_cutoffs: int = Field(default=2, ge=1)
    ruled_out: float = Field(default=0.35, gt=0, lt=1)
    threshold: float = Field(default=0.1, ge=0, lt=1)

    def sample(self, scenarios: Iterable[DecisionScenario], rng: RNG) -> RuleSet:
        """One rule per scenario.

        Raises:
            ScenarioError: A scenario has too few attributes for what is asked.
        """
        root = root_seed(rng)
        return RuleSet(self._draw(s, stream(root, "rule", self.kind, s.id)) for s in scenarios)

    def _draw(self, scenario: DecisionScenario, rng: np.random.Generator) -> ChoiceRule:
        if self.kind == "lexicographic":
            return self._turns(scenario, rng)
        weights = rng.uniform(-100, 100, scenario.n_predictors)
        if self.kind == "interaction":
            return self._products(scenario, weights, rng)
        linear = Preference.of(scenario, weights).normalised()
        if self.kind == "linear":
            return linear
        usable = self._ordered(scenario, self.n_cutoffs)
        chosen = rng.permutation(len(usable))[: self.n_cutoffs]
        cutoffs = []
        for k in sorted(chosen.tolist()):
            attribute = scenario.attribute(usable[k])
            positive = linear.weights[attribute.name] > 0
            share = self.ruled_out if positive else 1 - self.ruled_out
            grid = attribute.grid
            if attribute.scale == "log":
                value = attribute.low * (attribute.high / attribute.low) ** share
            else:
                value = attribute.low + share * (attribute.high - attribute.low)
            at = int(np.clip(grid.nearest(np.array(value)), 1, grid.n - 2)) if grid.n > 2 else int(positive)
            keep: Literal["at_least", "at_most"] = "at_least" if positive else "at_most"
            cutoffs.append(Cutoff(attribute=attribute.name, keep=keep, value=float(grid.at(np.array(at)))))
        return ScreeningRule(scenario_id=scenario.id, weights=linear.weights, cutoffs=tuple(cutoffs))

    def _products(
        self, scenario: DecisionScenario, weights: NDArray[np.float64], rng: np.random.Generator
    ) -> InteractionRule:
        pairs = product_pairs(scenario)
        if len(pairs) < self.n_interactions:
            raise ScenarioError(
                f"scenario {scenario.id!r} has {len(pairs)} pairs of predictors, cannot weigh {self.n_interactions}"
            )
        chosen = pairs[np.sort(rng.permutation(len(pairs))[: self.n_interactions])]
        size = 100 * self.strength * rng.uniform(0.5, 1.0, len(chosen)) * rng.choice([-1.0, 1.0], len(chosen))
        names = scenario.predictors
        return InteractionRule(
            scenario_id=scenario.id,
            weights=dict(zip(names, weights.tolist(), strict=True)),
            interactions=tuple((names[i], names[j], float(w)) for (i, j), w in zip(chosen, size, strict=True)),
        ).normalised()

    def _turns(self, scenario: DecisionScenario, rng: np.random.Generator) -> LexicographicRule:
        usable = self._ordered(scenario, 1)
        order = rng.permutation(len(usable)).tolist()
        up = rng.random(len(usable)) < 0.5
        return LexicographicRule(
            scenario_id=scenario.id,
            order=tuple(
                Criterion(attribute=usable[k], better="high" if up[k] else "low", threshold=self.threshold)
                for k in order
            ),
        )

    def _ordered(self, scenario: DecisionScenario, n: int) -> list[str]:
        names = [a.name for a in scenario.attributes if a.kind != "categorical"]
        if len(names) < n:
            raise ScenarioError(
                f"scenario {scenario.id!r} has {len(names)} attributes with an order, a {self.kind} rule needs {n}"
            )
        return names
