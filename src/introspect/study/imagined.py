"""An imagined experiment: choices and reports of many contexts under stated assumptions, fitted as real ones are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from introspect._random import stream
from introspect.decision import Attribute, DecisionScenario, PreferenceSampler, PreferenceSet, TrialGenerator, TrialSet
from introspect.decision._model import Record
from introspect.decision.generator import Design
from introspect.measure import ChoiceModel, ChoiceTable, LearnedWeights
from introspect.measure.moments import correlation, six_sums

__all__ = ["Assumptions", "Imagined", "imagine"]

Floats = NDArray[np.float64]

N_VOICES = 16
"""Independent sets of reports of each simulated context. The spread of reports, not of fits, decides how far one
population of contexts differs from another, and reports cost nothing to simulate."""


class Assumptions(Record):
    """What a plan supposes of the model that will be asked. Only the shape of results depends on it, never a result.

    Args:
        n_attributes: Weights per context.
        scale: Logits per 100 units of weight over an attribute's whole range: 10 agrees with the better option in
            about 91 % of random pairs, 5 in 84 %, 2 in 71 %. None: the better option always.
        lapse: Share of choices that are a blind pick.
        item_sd: Standard deviation of a liking or dislike for the single pair, in logits, which no repetition
            removes.
        graded: Label log-probabilities are recorded, so log-odds are fitted and not letters.
        design: How measuring trials are chosen.
        r: Pooled r that endlessly many reports would have with weights measured without noise.
        gain: How much report training raises it.
        reliability: r between two single reports of one context.
        spread: How far contexts differ in how well they are reported: standard deviation of the logarithm of the
            size of report errors.
        stability: r between the report errors before and after training.

    Raises:
        ScenarioError: A number out of range, or r + gain beyond what r can be.
    """

    _kind: ClassVar[str] = "assumptions"

    n_attributes: int = Field(default=5, ge=2, le=10)
    scale: float | None = Field(default=10.0, gt=0, allow_inf_nan=False)
    lapse: float = Field(default=0.0, ge=0, lt=1)
    item_sd: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    graded: bool = False
    design: Design = "d-optimal"
    r: float = Field(default=0.6, ge=0, lt=1)
    gain: float = Field(default=0.1, gt=-1, lt=1)
    reliability: float = Field(default=0.8, gt=0, le=1)
    spread: float = Field(default=0.5, ge=0, le=2)
    stability: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _r_stays_a_correlation(self) -> Self:
        if not 0 <= self.r + self.gain < 1:
            raise ValueError(f"r + gain must lie in [0, 1), got {self.r:g} + {self.gain:g}")
        if self.graded and self.scale is None:
            raise ValueError("graded answers need a scale: log-odds of a choice without noise are infinite")
        return self


@dataclass(frozen=True)
class Imagined:
    """A population of contexts to draw imagined studies from.

    Attributes:
        true: Weights, largest magnitude 100, [P, D]; each simulated chooser stands there with several sets of reports.
        learned: Trials -> weights fitted to so many choices, normalised, [P, D]; NaN where choices reveal none.
        reports: Repeats -> averaged reports before and after training, normalised, [2, P, D].
        latent: What endlessly many reports would average to, normalised, [2, P, D].
    """

    true: Floats
    learned: dict[int, Floats]
    reports: dict[int, Floats]
    latent: Floats

    def ceiling(self, trials: int) -> float:
        """Pooled r of fitted with true weights."""
        return float(correlation(six_sums(self.learned[trials], self.true).sum(axis=0)))

    def ceiling_of_reports(self, repeats: int) -> float:
        """Pooled r of so many reports' average with what endlessly many would average to."""
        return float(correlation(six_sums(self.reports[repeats][0], self.latent[0]).sum(axis=0)))

    def total_ceiling(self, trials: int, repeats: int) -> float:
        """The largest r that the noise of both sides allows."""
        return self.ceiling(trials) * self.ceiling_of_reports(repeats)

    def sums(self, trials: int, repeats: int) -> Floats:
        """What each context adds to the pooled r before and after, [2, P, 6]; zeros where there are no weights."""
        return six_sums(self.reports[repeats], self.learned[trials])


def imagine(assumptions: Assumptions, trials: Iterable[int], repeats: Iterable[int], seed: int, n: int) -> Imagined:
    """Simulate choices and reports of `n` contexts, and fit the choices with the default `ChoiceModel`.

    Args:
        assumptions: Of the model.
        trials: Numbers of choices per context; fewer are the first of more.
        repeats: Numbers of reports per context; likewise.
        seed: Root seed.
        n: Contexts whose choices are simulated; each is reported on by `N_VOICES` imagined models.

    Example:
        >>> world = imagine(Assumptions(r=0.6), [10, 40], [1], seed=0, n=60)
        >>> bool(world.ceiling(10) < world.ceiling(40) < 1)
        True
    """
    scenarios = _scenarios(n, assumptions.n_attributes)
    hidden = PreferenceSampler(decimals=None).sample(scenarios, stream(seed, "plan", "preferences"))
    true = hidden.matrix(scenarios)
    longest = max(trials)
    shown = TrialGenerator(design=assumptions.design).trials(scenarios, longest, stream(seed, "plan", "trials"))
    choices = _choose(shown, hidden, assumptions, stream(seed, "plan", "choices"))
    number = np.arange(len(shown)) % longest  # trials of one scenario stand together
    learned = {t: _normalised(ChoiceModel().fit(choices.take(number < t)), scenarios) for t in trials}
    learned = {t: np.tile(fitted, (N_VOICES, 1)) for t, fitted in learned.items()}
    true = np.tile(true, (N_VOICES, 1))
    latent, reports = _reports(true, assumptions, sorted(set(repeats)), seed)
    return Imagined(true, learned, reports, latent)


def _scenarios(n: int, n_attributes: int) -> list[DecisionScenario]:
    axes = [Attribute(name=f"x{i}", low=0, high=100) for i in range(n_attributes)]
    return [
        DecisionScenario(id=f"k{i}", chooser="a chooser", item="an item", question="Which one?", attributes=axes)
        for i in range(n)
    ]


def _choose(trials: TrialSet, hidden: PreferenceSet, assumptions: Assumptions, rng: np.random.Generator) -> ChoiceTable:
    (block,) = trials.blocks
    weights = hidden.matrix(block.scenarios) / 100
    better = np.einsum("np,np->n", block.differences(), weights[block.scenario_index])
    odds = (1.0 if assumptions.scale is None else assumptions.scale) * better
    odds = odds + assumptions.item_sd * rng.standard_normal(len(odds))
    noise = 0.0 if assumptions.scale is None else rng.logistic(size=len(odds))
    blind = rng.random(len(odds)) < assumptions.lapse
    chosen = np.where(blind, rng.random(len(odds)) < 0.5, odds + noise < 0).astype(np.int8)
    table = ChoiceTable.from_choices(trials, chosen)
    if not assumptions.graded:
        return table
    # A model that lapses is unsure beforehand, and its probabilities say so.
    first = (1 - assumptions.lapse) / (1 + np.exp(-odds)) + assumptions.lapse / 2
    logprob = np.log(np.clip(np.stack([first, 1 - first], axis=1), 1e-300, None))
    return ChoiceTable(
        trials, "", "imagined", chosen, table.status, table.text, logprob, table.mass_outside, table.logprob_floor
    )


def _normalised(weights: LearnedWeights, scenarios: list[DecisionScenario]) -> Floats:
    lost = weights.unusable()
    scaled = weights.normalised()
    order = [scaled.index(scenario.id) for scenario in scenarios]
    coef = np.stack([scaled.coef[i] for i in order])
    coef[[scenario.id in lost for scenario in scenarios]] = np.nan
    return coef


def _reports(true: Floats, assumptions: Assumptions, repeats: list[int], seed: int) -> tuple[Floats, dict[int, Floats]]:
    rng = stream(seed, "plan", "reports")
    before, fresh = rng.standard_normal((2, *true.shape))
    share = assumptions.stability
    errors = before, share * before + np.sqrt(1 - share**2) * fresh
    size = np.exp(assumptions.spread * rng.standard_normal((len(true), 1)))
    single = rng.standard_normal((2, max(repeats), *true.shape))
    sides = []
    for error, goal in zip(errors, (assumptions.r, assumptions.r + assumptions.gain), strict=True):
        sides.append(_blend(true, size * error, goal))
    latent = np.stack(sides)
    # Two single reports that share the latent one and differ in noise correlate at the reliability.
    noise = latent.std(axis=(1, 2)) * np.sqrt(1 / assumptions.reliability - 1)
    means = {k: latent + noise[:, None, None] * single[:, :k].mean(axis=1) for k in repeats}
    return _scaled(latent), {k: _scaled(mean) for k, mean in means.items()}


def _blend(true: Floats, error: Floats, goal: float) -> Floats:
    """True weights and error in the proportion at which the pooled r of their normalised sum is the goal."""
    low, high = 0.0, np.pi / 2
    for _ in range(40):
        middle = (low + high) / 2
        mixed = _scaled(np.cos(middle) * true / 100 + np.sin(middle) * error)
        r = float(correlation(six_sums(mixed, true).sum(axis=0)))
        low, high = (middle, high) if r > goal else (low, middle)
    return np.asarray(np.cos(low) * true + np.sin(low) * 100 * error)


def _scaled(weights: Floats) -> Floats:
    scaled: Floats = weights / np.abs(weights).max(axis=-1, keepdims=True) * 100
    return scaled
