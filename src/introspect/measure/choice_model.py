"""From choices to weights: a ridge logit per scenario, all scenarios at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from introspect.decision.trial_set import TrialSet
from introspect.errors import MeasureError
from introspect.measure.choice_table import ChoiceTable
from introspect.measure.diagnostics import flags_of
from introspect.measure.learned_weights import LearnedWeights
from introspect.measure.newton import MapFit, fit_map
from introspect.measure.stacks import Stack, stack_choices

__all__ = ["ChoiceModel"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ChoiceModel:
    """Posterior mode of a (conditional) logit with a normal prior on the weights and a free position effect.

    The predictors are differences of the values shown, on the scale of the declared ranges; the prior is only
    meaningful on that scale. With more than two options every position but the last has its own intercept.
    The ridge keeps weights finite where they explain every choice, which is the normal case for a consistent
    chooser.

    Attributes:
        tau: Prior standard deviation of a weight, in logits.
        intercept_sd: Prior standard deviation of a position's effect, in logits.

    Example:
        >>> from introspect.decision.attribute import Attribute
        >>> from introspect.decision.scenario import DecisionScenario
        >>> from introspect.decision.trial_block import TrialBlock
        >>> axes = [Attribute(name=n, low=0, high=10) for n in ("p", "q")]
        >>> k = DecisionScenario(id="k", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        >>> values = np.random.default_rng(0).integers(0, 11, (40, 2, 2))
        >>> label = (values[:, 1, 0] > values[:, 0, 0]).astype(int)      # only p matters, more is better
        >>> weights = ChoiceModel().fit(TrialSet([TrialBlock.of((k,), [0] * 40, values, label)]))
        >>> max(weights.weights("k"), key=weights.weights("k").get)
        'p'
    """

    tau: float = 5.0
    intercept_sd: float = 5.0

    def __post_init__(self) -> None:
        for name in ("tau", "intercept_sd"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise MeasureError(f"{name} must be a positive number of logits, got {value}")

    def fit(self, choices: ChoiceTable | TrialSet) -> LearnedWeights:
        """Weights of every scenario that has trials.

        Args:
            choices: A model's choices, or trials with labels (-1 is missing).

        Returns:
            Weights in the order in which scenarios appear in the trials' blocks.

        Raises:
            MeasureError: No trials, or a scenario's trials differ in their number of options.
        """
        if isinstance(choices, ChoiceTable):
            trials, chosen, model = choices.trials, choices.chosen, choices.model
        else:
            trials, model = choices, ""
            chosen = np.concatenate([b.label for b in trials.blocks]) if len(trials) else np.empty(0, np.int8)
        if not len(trials):
            raise MeasureError("there are no trials to fit")
        stacks = stack_choices(trials, chosen)
        fits = [fit_map(s.design, s.outcome, self.prior_sd(s.n_weights, s.n_intercepts), s.case) for s in stacks]
        return self._collect(stacks, fits, trials, model)

    def prior_sd(self, n_weights: int, n_intercepts: int) -> Floats:
        """Prior standard deviations of weights, then intercepts."""
        return np.concatenate([np.full(n_weights, self.tau), np.full(n_intercepts, self.intercept_sd)])

    def _collect(self, stacks: list[Stack], fits: list[MapFit], trials: TrialSet, model: str) -> LearnedWeights:
        place = {scenario.id: number for number, scenario in enumerate(trials.scenarios)}
        found = []
        for stack, fit in zip(stacks, fits, strict=True):
            flags = flags_of(stack, fit)
            found += [(place[name], stack, fit, c, flags[c]) for c, name in enumerate(stack.scenario_ids)]
        found.sort(key=lambda entry: entry[0])
        return LearnedWeights(
            scenario_ids=tuple(s.scenario_ids[c] for _, s, _, c, _ in found),
            predictors=tuple(s.predictors[c] for _, s, _, c, _ in found),
            coef=tuple(f.coef[c, : s.n_weights] for _, s, f, c, _ in found),
            intercept=tuple(f.coef[c, s.n_weights :] for _, s, f, c, _ in found),
            cov=tuple(f.cov[c] for _, _, f, c, _ in found),
            n_trials=np.array([s.n_trials[c] for _, s, _, c, _ in found], dtype=np.int64),
            n_missing=np.array([s.n_missing[c] for _, s, _, c, _ in found], dtype=np.int64),
            flags=tuple(flags for *_, flags in found),
            log_evidence=np.array([f.log_evidence[c] for _, _, f, c, _ in found]),
            tau=self.tau,
            intercept_sd=self.intercept_sd,
            model=model,
        )
