"""Trials that need no weighing: how often an option is taken that another one beats on everything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from introspect.decision.preference import Preference
from introspect.measure.by_scenario import ScenarioChoices, fit_each

__all__ = ["Lapses", "lapses"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Lapses:
    """What dominated options tell about blind picks.

    Attributes:
        n: Trials with a dominated option.
        failures: How often one was taken.
        blind: Mean probability that a blind pick takes one, over these trials: 1/2 with two options.
        low: Lower end of the 95 % interval (Jeffreys) of `rate`.
        high: Upper end.
        expected: Failures that the fitted choice noise leads to without any lapse; NaN where signs were given.
    """

    n: int
    failures: int
    blind: float
    low: float
    high: float
    expected: float

    @property
    def rate(self) -> float:
        """Share of blind picks that would make so many failures; NaN without such trials.

        A chooser whose noise grows where options are close fails here too, so this is an upper estimate.
        """
        return min(self.failures / (self.n * self.blind), 1.0) if self.n else math.nan


def lapses(
    choices: list[ScenarioChoices],
    signs: Mapping[str, Preference] | None = None,
    tau: float = 5.0,
    intercept_sd: float = 5.0,
) -> tuple[Lapses, dict[str, Lapses]]:
    """Dominance failures, over all scenarios and in each.

    An option is dominated where another one is at least as good on every predictor and better on one. Which
    way is better is known from `signs`, or else from the weights fitted to all the *other* trials of the
    scenario: signs from a fit that includes the failures excuse a third of them. Scenarios answered on one
    side only are left out, as everywhere else.

    Args:
        choices: Scenarios.
        signs: Preferences whose signs say which way is better, by scenario id; a weight of 0 says that the
            predictor does not matter. Fitted where not given.
        tau: Prior scale of the fit, in logits.
        intercept_sd: Prior scale of its intercepts.

    Raises:
        ScenarioError: A given preference does not fit its scenario.

    Example:
        >>> from introspect.decision import PreferenceSampler, TrialGenerator, label, organism_scenarios
        >>> from introspect.measure.by_scenario import by_scenario
        >>> contexts = organism_scenarios(40)
        >>> wishes = PreferenceSampler().sample(contexts, rng=0)
        >>> trials = label(TrialGenerator().trials(contexts, 50, rng=0), wishes, "lapse", lapse=0.2, rng=0)
        >>> pooled, _ = lapses(by_scenario(trials), wishes)
        >>> pooled.low < 0.2 < pooled.high
        True
    """
    blind = [c for c in choices if signs is None or c.scenario.id not in signs]
    fits = {id(c): fit for c, fit in zip(blind, fit_each(blind, tau, intercept_sd), strict=True)}
    rows = {c.scenario.id: _rows(c, signs, fits.get(id(c))) for c in choices}
    everything = [np.concatenate(part) for part in zip(*rows.values(), strict=True)] if rows else [np.empty(0)] * 3
    return _summary(*everything), {name: _summary(*row) for name, row in rows.items()}


def _rows(
    choices: ScenarioChoices, signs: Mapping[str, Preference] | None, fit: tuple[Floats, Floats] | None
) -> tuple[Floats, Floats, Floats]:
    """Of the trials with a dominated option: failed, blind pick's and fitted noise's chance to fail."""
    scenario = choices.scenario
    if not choices.n:
        return np.empty(0), np.empty(0), np.empty(0)
    if fit is None:
        assert signs is not None
        sign = np.broadcast_to(np.sign(signs[scenario.id].vector(scenario)), (choices.n, scenario.n_predictors))
        chance = np.full((choices.n, choices.n_options), np.nan)
    else:
        sign, chance = _left_out(choices, *fit)
    dominated = _dominated(choices.encoded * sign[:, None])
    there = dominated.any(axis=1) & bool(np.ptp(choices.chosen))
    failed = dominated[np.arange(choices.n), choices.chosen]
    noise = np.where(dominated, chance, 0.0).sum(axis=1)
    return failed[there].astype(float), dominated.mean(axis=1)[there], noise[there]


def _dominated(goodness: Floats) -> NDArray[np.bool_]:
    """Which options are beaten by another one, [n, J]."""
    # An order that puts no option before itself: nowhere worse and somewhere better than the other.
    better = goodness[:, :, None] - goodness[:, None]
    beats: NDArray[np.bool_] = np.all(better >= 0, axis=3) & np.any(better > 0, axis=3)
    return np.asarray(np.any(beats, axis=1))


def _left_out(choices: ScenarioChoices, coef: Floats, cov: Floats) -> tuple[Floats, Floats]:
    """Signs fitted without each trial, [n, P], and each option's fitted chance, [n, J].

    One Newton step from the joint fit leaves a trial out, exactly as in the usual leave-one-out residuals.
    """
    design, n_weights = choices.design(), choices.scenario.n_predictors
    rivals = choices.n_options - 1
    chance = chances(design, coef)
    own = chance[:, :-1]
    spread = own[:, :, None] * np.eye(rivals) - own[:, :, None] * own[:, None]
    reach = design @ cov
    pull = np.linalg.solve(
        np.eye(rivals) - spread @ (reach @ np.swapaxes(design, 1, 2)), (choices.share - own)[..., None]
    )[..., 0]
    without = coef - np.einsum("nkq,nk->nq", reach, pull)
    return np.sign(without[:, :n_weights]), chance


def chances(design: Floats, coef: Floats) -> Floats:
    """Probability of every option under a conditional logit, [..., n, J].

    Args:
        design: Differences to the last option, [n, J - 1, Q].
        coef: Coefficients, [..., Q].
    """
    utility = np.einsum("nkq,...q->...nk", design, coef)
    utility = np.concatenate([utility, np.zeros((*utility.shape[:-1], 1))], axis=-1)
    power = np.exp(utility - utility.max(axis=-1, keepdims=True))
    return np.asarray(power / power.sum(axis=-1, keepdims=True))


def _summary(failed: Floats, blind: Floats, noise: Floats) -> Lapses:
    from scipy.special import betaincinv

    n, failures = len(failed), int(failed.sum())
    if not n:
        return Lapses(0, 0, math.nan, math.nan, math.nan, math.nan)
    mean = float(blind.mean())
    a, b = failures + 0.5, n - failures + 0.5
    low = float(betaincinv(a, b, 0.025)) / mean if failures else 0.0
    high = float(betaincinv(a, b, 0.975)) / mean if failures < n else 1.0
    return Lapses(n, failures, mean, min(low, 1.0), min(high, 1.0), float(noise.sum()))
