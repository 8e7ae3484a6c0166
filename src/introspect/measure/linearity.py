"""Is a weight the same all over its attribute's range? A score test for what a straight line misses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from introspect._random import RNG, root_seed, stream
from introspect.decision.scenario import DecisionScenario
from introspect.measure.by_scenario import ScenarioChoices
from introspect.measure.dominance import chances
from introspect.measure.newton import MapFit, fit_map

__all__ = ["Linearity", "curved_terms", "linearity"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Linearity:
    """Test that no squared predictor adds to the fit.

    Attributes:
        statistic: Chi-square form, over the dispersion of the residuals.
        df: Squares that the trials can tell from the straight terms; 0 where all values lie at range ends.
        p: In a scenario against a beta reference (a chi-square with few residuals), over scenarios by
            parametric bootstrap; NaN where `df` is 0.
        by_predictor: Predictor -> (direction, p): +1 where utility bends upwards. Empty over scenarios.
    """

    statistic: float
    df: int
    p: float
    by_predictor: dict[str, tuple[int, float]]


def curved_terms(scenario: DecisionScenario, encoded: Floats) -> tuple[list[str], Floats]:
    """Squares of the predictors that can bend: numbers, and levels in order, three or more.

    Args:
        scenario: Whose.
        encoded: Predictors, [n, J, P].

    Returns:
        Names and values, [n, J, K].
    """
    names = [a.name for a in scenario.attributes if a.kind != "categorical" and (a.levels is None or len(a.levels) > 2)]
    columns = [scenario.predictors.index(name) for name in names]
    return names, encoded[..., columns] ** 2


def linearity(
    choices: list[ScenarioChoices],
    rng: RNG,
    tau: float = 5.0,
    intercept_sd: float = 5.0,
    n_boot: int = 99,
) -> tuple[Linearity, dict[str, Linearity]]:
    """Score test of quadratic terms, over all scenarios and in each.

    The straight terms are nuisances, fitted with the prior: the score is taken orthogonal to them (Neyman's
    C(alpha)), so the prior's pull on them does not count, and divided by the dispersion of the residuals,
    since the prior makes these too small where choices are consistent. Over scenarios the statistics are
    added up and referred to data sets drawn from the fits; chi-squares that are each a little off would not
    add up to one.

    Args:
        choices: Scenarios.
        rng: Seed; every scenario has a stream of its own.
        tau: Prior scale of the weights, in logits.
        intercept_sd: Prior scale of the intercepts.
        n_boot: Data sets drawn per scenario; the smallest pooled p is 1 / (n_boot + 1). 0: no pooled p.

    Example:
        >>> from introspect.decision import TrialGenerator, organism_scenarios
        >>> from introspect.measure.by_scenario import by_scenario
        >>> trials = TrialGenerator().trials(organism_scenarios(4), 100, rng=0)
        >>> middle = -np.abs(trials.blocks[0].encoded()[:, :, 0] - 0.5)       # the middle of a range is best
        >>> pooled, _ = linearity(by_scenario(trials.with_labels(middle.argmax(axis=1))), rng=0)
        >>> pooled.p
        0.01
    """
    root = root_seed(rng)
    observed, drawn, df, found = 0.0, np.zeros(n_boot), 0, {}
    for part in choices:
        single, replicates = _one(part, stream(root, "linearity", part.scenario.id), tau, intercept_sd, n_boot)
        found[part.scenario.id] = single
        if single.df and math.isfinite(single.statistic):
            observed, drawn, df = observed + single.statistic, drawn + replicates, df + single.df
    p = (1 + int((drawn >= observed).sum())) / (n_boot + 1) if df and n_boot else math.nan
    return Linearity(observed if df else math.nan, df, p, {}), found


def _one(
    choices: ScenarioChoices, rng: np.random.Generator, tau: float, intercept_sd: float, n_boot: int
) -> tuple[Linearity, Floats]:
    names, squares = curved_terms(choices.scenario, choices.encoded)
    design, n_weights = choices.design(), choices.scenario.n_predictors
    rivals = choices.n_options - 1
    prior = np.concatenate([np.full(n_weights, tau), np.full(rivals, intercept_sd)])
    empty = Linearity(math.nan, 0, math.nan, {})
    if not names or choices.n <= design.shape[2]:
        return empty, np.zeros(n_boot)
    extra = squares[:, :-1] - squares[:, -1:]
    fit = fit_map(design[None], choices.outcome[None], prior)
    statistic, df, scores, n = _score(design, extra, choices.outcome[None], fit)
    if not df[0] or not math.isfinite(statistic[0]):
        return empty, np.zeros(n_boot)
    terms = {
        name: (int(np.sign(z)), _p(z * z, 1, float(n[0])))
        for name, z in zip(names, scores[0].tolist(), strict=True)
        if math.isfinite(z)
    }
    single = Linearity(float(statistic[0]), int(df[0]), _p(float(statistic[0]), int(df[0]), float(n[0])), terms)
    if not n_boot:
        return single, np.zeros(0)
    chance = chances(design, fit.coef[0])
    picks = (rng.random((n_boot, choices.n, 1)) > chance.cumsum(axis=1)[:, :-1]).sum(axis=2)
    outcome = (picks[..., None] == np.arange(rivals)).astype(np.float64)
    refit = fit_map(np.broadcast_to(design, (n_boot, *design.shape)), outcome, prior, tolerance=1e-6)
    replicates = _score(design, extra, outcome, refit)[0]
    return single, np.where(np.isfinite(replicates), replicates, 0.0)


def _p(statistic: float, df: int, n: float) -> float:
    """Of a chi-square that was divided by a dispersion from n residuals, its own among them."""
    from scipy.special import betainc

    n = max(n, df + 2.0)  # where so few weigh anything the test is blunt, never sharp
    return float(betainc((n - df) / 2.0, df / 2.0, min(max(1.0 - statistic / n, 0.0), 1.0)))


def _score(
    design: Floats, extra: Floats, outcome: Floats, fit: MapFit
) -> tuple[Floats, NDArray[np.int64], Floats, Floats]:
    """Joint statistics [R], their degrees of freedom [R], each extra term's own z [R, K] and how many equally
    weighty residuals stand behind it, [R].

    Args:
        design: The terms fitted, [n, J - 1, Q].
        extra: The terms tested, [n, J - 1, K].
        outcome: [R, n, J - 1].
        fit: Of the R outcomes.
    """
    own = chances(design, fit.coef)[..., :-1]
    residual = outcome - own
    spread = own[..., None] * np.eye(own.shape[-1]) - own[..., None] * own[..., None, :]
    straight = np.einsum("rnkl,nlq->rnkq", spread, design)
    known = np.einsum("nkq,rnks->rqs", design, straight, optimize=True)
    known += 1e-10 * np.trace(known, axis1=1, axis2=2)[:, None, None] * np.eye(known.shape[1])
    cross = np.einsum("rnkq,nkz->rqz", straight, extra, optimize=True)
    # What is left of the extra terms beside the straight ones, under the fit's own weights.
    rest = extra - np.einsum("nkq,rqz->rnkz", design, np.linalg.solve(known, cross))
    score = np.einsum("rnkz,rnk->rz", rest, residual, optimize=True)
    variance = np.einsum("rnkz,rnkl,rnly->rzy", rest, spread, rest, optimize=True)
    raw = np.einsum("nkz,rnkl,nly->rzy", extra, spread, extra, optimize=True)
    size = np.sqrt(np.diagonal(raw, axis1=1, axis2=2))
    size = np.where(size > 0, size, 1.0)
    # On the scale of the raw terms, a term that the straight ones already contain has an eigenvalue of 0.
    values, vectors = np.linalg.eigh(variance / (size[:, :, None] * size[:, None]))
    free = values > 1e-6
    inverse = (vectors * np.where(free, 1.0 / np.where(free, values, 1.0), 0.0)[:, None]) @ np.swapaxes(vectors, 1, 2)
    inverse /= size[:, :, None] * size[:, None]
    # The dispersion, from the residuals where the extra terms look, allowing for what the fit took out of them.
    shaped = np.einsum("rnkl,rnlz->rnkz", spread, rest)
    reach = np.einsum("rnkz,rzy->rnky", rest, inverse)
    found = np.einsum("rnkz,rnk->rnz", rest, residual)
    seen = np.einsum("rnz,rzy,rny->r", found, inverse, found, optimize=True)
    weight = np.einsum("rnky,rnky->rn", reach, shaped)
    taken = np.einsum("rnky,rnkq,rqs,rnls,rnly->rn", reach, straight, fit.cov, straight, rest, optimize=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        dispersion = seen / (weight - taken).sum(axis=1)
        statistic = np.einsum("rz,rzy,ry->r", score, inverse, score) / dispersion
        diagonal = np.diagonal(variance, axis1=1, axis2=2)
        single = np.where(diagonal > 1e-6 * size**2, score / np.sqrt(diagonal * dispersion[:, None]), np.nan)
        n = weight.sum(axis=1) ** 2 / (weight**2).sum(axis=1) * design.shape[1]
    n = np.minimum(n, design.shape[0] * design.shape[1] - design.shape[2])
    return np.asarray(statistic), free.sum(axis=1).astype(np.int64), np.asarray(single), np.asarray(n)
