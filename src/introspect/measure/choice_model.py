"""From choices to weights: one logit per scenario, all scenarios at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from introspect._random import RNG, root_seed
from introspect.decision.trial_set import TrialSet
from introspect.errors import MeasureError
from introspect.measure.bootstrap import Draw, half_weights, refit, resample_weights
from introspect.measure.choice_table import ChoiceTable
from introspect.measure.diagnostics import flags_of
from introspect.measure.evidence import Scales, choose_scales
from introspect.measure.firth import fit_firth
from introspect.measure.graded import fit_fractional, fit_ols, fractional_prior, grade, regrade_flags
from introspect.measure.learned_weights import LearnedWeights
from introspect.measure.newton import MapFit, fit_map
from introspect.measure.separation import separated
from introspect.measure.stacks import Stack, stack_choices

__all__ = ["ChoiceModel", "Estimator", "GradedMode"]

Floats = NDArray[np.float64]
Estimator = Literal["eb", "ridge", "ml", "firth"]
GradedMode = Literal["auto", "off", "ols", "fractional"]


@dataclass(frozen=True)
class ChoiceModel:
    """A (conditional) logit of each scenario's choices, with a free position effect.

    The predictors are differences of the values shown, on the scale of the declared ranges; a prior is only
    meaningful on that scale. With more than two options every position but the last has its own intercept.

    Estimators of plain choices:

    - "eb" (empirical Bayes): posterior mode under normal priors whose scales are common to all scenarios of the call
      and maximise their pooled Laplace evidence (of weights within 0.5 to 20 logits). Of a dozen estimators it lost
      least in direction, and it is finite where weights explain every choice, which is the normal case for a
      consistent chooser.
    - "ridge": the same at the fixed scale `tau`, so that a scenario's fit does not depend on the others.
    - "ml": maximum likelihood. Where choices are separated there is no maximum: weights are NaN, with a reason.
    - "firth": Jeffreys' prior, two options; less bias in magnitude, no better direction.

    Graded answers, where two options' label log-probabilities were recorded, say far more than the choice. "auto"
    takes least squares on the log-odds in scenarios that show (nearly) all of them, a fractional logit where some
    labels are missing or cut off, and the estimator on plain choices where there are none.

    Attributes:
        estimator: How plain choices are fitted.
        tau: Prior standard deviation of a weight, in logits: of "ridge", and of "eb" where no scenario has choices
            on both sides.
        intercept: Fit the effect of a position. Without it, a liking for one side goes into the weights.
        intercept_sd: Prior standard deviation of a position's effect, in logits: of "ridge"; "eb" chooses one between
            0.5 and this.
        graded: "auto", "off" (only which option was chosen), or always "ols" or "fractional" where there are graded
            answers.

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

    estimator: Estimator = "eb"
    tau: float = 5.0
    intercept: bool = True
    intercept_sd: float = 5.0
    graded: GradedMode = "auto"

    def __post_init__(self) -> None:
        for name in ("tau", "intercept_sd"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise MeasureError(f"{name} must be a positive number of logits, got {value}")
        for name, known in (("estimator", get_args(Estimator)), ("graded", get_args(GradedMode))):
            if getattr(self, name) not in known:
                raise MeasureError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")

    def fit(self, choices: ChoiceTable | TrialSet) -> LearnedWeights:
        """Weights of every scenario that has trials.

        Args:
            choices: A model's choices, or trials with labels (-1 is missing).

        Returns:
            Weights in the order in which scenarios appear in the trials' blocks.

        Raises:
            MeasureError: No trials, a scenario's trials differ in their number of options, or Firth's estimator is
                asked for more than two.
        """
        trials, model, stacks = self._stacks(choices)
        scales = self._scales(stacks)
        fits = [self._fit(stack, scales, start) for stack, start in zip(stacks, scales.starts, strict=True)]
        return self._collect(stacks, fits, trials, model, scales)

    def bootstrap(self, choices: ChoiceTable | TrialSet, n_boot: int, rng: RNG) -> dict[str, Floats]:
        """Weights of resampled trials: each scenario's usable trials are drawn with replacement, as many as there are.

        The scale of "eb" is the one of all the trials. Intervals from these replicates are narrower than they should
        be with few trials (see the statistics page); `LearnedWeights.intervals` are the default.

        Args:
            choices: As for `fit`.
            n_boot: Replicates.
            rng: Seed; a scenario's replicates do not depend on which others are there, unless through the scale.

        Returns:
            Scenario id -> weights [n_boot, P], as fitted (not normalised). NaN where the estimator has no optimum.

        Raises:
            MeasureError: As for `fit`, or fewer than one replicate.
        """
        if n_boot < 1:
            raise MeasureError(f"n_boot must be at least 1, got {n_boot}")
        return self._refit(choices, resample_weights(n_boot), n_boot, rng, "bootstrap")

    def split_halves(
        self, choices: ChoiceTable | TrialSet, n_splits: int, rng: RNG
    ) -> dict[str, tuple[Floats, Floats]]:
        """Weights of both halves of randomly split trials: what a noise ceiling is made of.

        Args:
            choices: As for `fit`.
            n_splits: Random splits of each scenario's usable trials.
            rng: Seed; a scenario's splits do not depend on which others are there, unless through the scale, which is
                the one of all the trials.

        Returns:
            Scenario id -> (weights of the first halves, weights of the second halves), each [n_splits, P], as fitted
            (not normalised). Scenarios without usable trials are NaN.

        Raises:
            MeasureError: As for `fit`, or fewer than one split.
        """
        if n_splits < 1:
            raise MeasureError(f"n_splits must be at least 1, got {n_splits}")
        both = self._refit(choices, half_weights(n_splits), 2 * n_splits, rng, "halves")
        return {name: (coef[:n_splits], coef[n_splits:]) for name, coef in both.items()}

    def prior_sd(
        self, n_weights: int, n_intercepts: int, tau: float | None = None, side: float | None = None
    ) -> Floats:
        """Prior standard deviations of weights, then intercepts; infinite where the estimator has no prior.

        Args:
            n_weights: How many weights.
            n_intercepts: How many intercepts.
            tau: Scale of the weights; the model's own if not given.
            side: Scale of the intercepts; the model's own if not given.
        """
        tau, side = self.tau if tau is None else tau, self.intercept_sd if side is None else side
        if self.estimator == "ml":
            tau = side = np.inf
        return np.concatenate([np.full(n_weights, tau), np.full(n_intercepts, side)])

    def _stacks(self, choices: ChoiceTable | TrialSet) -> tuple[TrialSet, str, list[Stack]]:
        if isinstance(choices, ChoiceTable):
            trials, chosen, model = choices.trials, choices.chosen, choices.model
        else:
            trials, chosen, model = choices, choices.labels, ""
        if not len(trials):
            raise MeasureError("there are no trials to fit")
        stacks = stack_choices(trials, chosen, intercept=self.intercept)
        if self.graded == "off" or not isinstance(choices, ChoiceTable) or np.isnan(choices.logprob).all():
            return trials, model, stacks
        parts = []
        for stack in stacks:
            parts += grade(stack, choices, self.graded) if stack.outcome.shape[2] == 1 else [stack]
        return trials, model, parts

    def _scales(self, stacks: list[Stack]) -> Scales:
        """The prior scales, and where to start each stack's fit."""
        starts: list[Floats | None] = [None] * len(stacks)
        if self.estimator != "eb":
            return Scales(self.tau, self.intercept_sd, starts)
        plain = [number for number, stack in enumerate(stacks) if not stack.graded]
        found = choose_scales([stacks[n] for n in plain], self.tau, self.intercept_sd)
        for number, start in zip(plain, found.starts, strict=True):
            starts[number] = start
        return replace(found, starts=starts)

    def _fit(self, stack: Stack, scales: Scales, start: Floats | None) -> MapFit:
        if stack.graded == "ols":
            return fit_ols(stack)
        if stack.graded == "fractional":
            return fit_fractional(stack, self.intercept_sd)
        if self.estimator == "firth":
            return fit_firth(stack.design, stack.outcome, stack.case)
        sd = self.prior_sd(stack.n_weights, stack.n_intercepts, scales.weight, scales.side)
        if self.estimator == "ml":
            return _fit_ml(stack, sd)
        return fit_map(stack.design, stack.outcome, sd, stack.case, start=start)

    def _refit(
        self, choices: ChoiceTable | TrialSet, draw: Draw, n_replicates: int, rng: RNG, name: str
    ) -> dict[str, Floats]:
        trials, _, stacks = self._stacks(choices)
        scales = self._scales(stacks)
        seed = root_seed(rng)
        found: dict[str, Floats] = {}
        for stack in stacks:
            if stack.graded:
                sd = fractional_prior(stack, self.intercept_sd)
            else:
                sd = self.prior_sd(stack.n_weights, stack.n_intercepts, scales.weight, scales.side)
            found.update(refit(stack, self.estimator, sd, draw, n_replicates, seed, name))
        return {scenario.id: found[scenario.id] for scenario in trials.scenarios}

    def _collect(
        self, stacks: list[Stack], fits: list[MapFit], trials: TrialSet, model: str, scales: Scales
    ) -> LearnedWeights:
        place = {scenario.id: number for number, scenario in enumerate(trials.scenarios)}
        found, effective = [], []
        for stack, fit in zip(stacks, fits, strict=True):
            effective.append(_n_effective(stack, fit))
            flags = flags_of(stack, fit)
            if stack.graded == "ols":
                flags = regrade_flags(stack, fit, flags)
            found += [(place[name], stack, fit, c, flags[c]) for c, name in enumerate(stack.scenario_ids)]
        order = np.argsort([entry[0] for entry in found], kind="stable")
        found = [found[i] for i in order]
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
            tau=scales.weight,
            intercept_sd=scales.side,
            model=model,
            estimator=self.estimator,
            graded=tuple(s.graded for _, s, *_ in found),
            log_likelihood=np.array([f.log_likelihood[c] for _, _, f, c, _ in found]),
            n_effective=np.concatenate(effective)[order],
        )


def _fit_ml(stack: Stack, prior_sd: Floats) -> MapFit:
    """Maximum likelihood where there is a maximum, NaN elsewhere."""
    lost = separated(stack.design, stack.outcome, stack.case, flat=True)
    n_contexts, n_coef = len(lost), stack.design.shape[3]
    found = ~lost
    fit = fit_map(stack.design[found], stack.outcome[found], prior_sd, stack.case[found])
    whole = MapFit(
        coef=np.full((n_contexts, n_coef), np.nan),
        cov=np.full((n_contexts, n_coef, n_coef), np.nan),
        log_likelihood=np.full(n_contexts, np.nan),
        log_evidence=np.full(n_contexts, np.nan),
        gradient=np.full(n_contexts, np.nan),
        converged=np.zeros(n_contexts, dtype=bool),
        iterations=fit.iterations,
    )
    for name in ("coef", "cov", "log_likelihood", "gradient", "converged"):
        getattr(whole, name)[found] = getattr(fit, name)
    return whole


def _n_effective(stack: Stack, fit: MapFit) -> Floats:
    """Each trial's variance of the choice against that of a fair draw, summed, [C]."""
    if stack.graded == "ols":
        return stack.n_trials.astype(float)
    utility = np.matmul(stack.design, fit.coef[:, None, :, None])[..., 0]
    utility = np.concatenate([utility, np.zeros_like(utility[:, :, :1])], axis=2)
    chance = np.exp(utility - utility.max(axis=2, keepdims=True))
    chance /= chance.sum(axis=2, keepdims=True)
    n_options = chance.shape[2]
    return np.asarray((stack.case * (1.0 - (chance**2).sum(axis=2))).sum(axis=1) * n_options / (n_options - 1))
