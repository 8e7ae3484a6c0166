"""Is a weight the same all over its attribute's range? A score test for what a straight line misses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from introspect._random import RNG, root_seed, stream
from introspect.decision.scenario import DecisionScenario
from introspect.measure.by_scenario import ScenarioChoices, alike, fit_each
from introspect.measure.dominance import chances
from introspect.measure.newton import fit_map
from introspect.measure.replicates import fit_replicates

__all__ = ["Linearity", "curved_terms", "linearity"]

Floats = NDArray[np.float64]

AT_ONCE = 20
"""Scenarios whose drawn data sets are held together."""


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
    names = _bending(scenario)
    columns = [scenario.predictors.index(name) for name in names]
    return names, encoded[..., columns] ** 2


def _bending(scenario: DecisionScenario) -> list[str]:
    return [a.name for a in scenario.attributes if a.kind != "categorical" and (a.levels is None or len(a.levels) > 2)]


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
    add up to one. Where all answers of a scenario are graded, least squares on their log-odds takes the logit's place.

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
    observed, drawn, df = 0.0, np.zeros(n_boot), 0
    found = {part.scenario.id: Linearity(math.nan, 0, math.nan, {}) for part in choices}
    for names, parts in _groups(choices):
        graded = parts[0].graded
        tests = (
            _graded(parts, names, root, n_boot) if graded else _together(parts, names, root, tau, intercept_sd, n_boot)
        )
        for part, single, replicates in tests:
            found[part.scenario.id] = single
            observed, drawn, df = observed + single.statistic, drawn + replicates, df + single.df
    p = (1 + int((drawn >= observed).sum())) / (n_boot + 1) if df and n_boot else math.nan
    return Linearity(observed if df else math.nan, df, p, {}), found


def _groups(choices: list[ScenarioChoices]) -> Iterator[tuple[list[list[str]], list[ScenarioChoices]]]:
    """Scenarios to be tested together, and their names of what can bend: designs and squares of one shape."""
    for group in alike(choices):
        by_number: dict[tuple[int, bool], list[ScenarioChoices]] = {}
        for part in (choices[i] for i in group):
            names = _bending(part.scenario)
            if names and part.n > part.encoded.shape[2] + part.n_options - 1:
                by_number.setdefault((len(names), part.graded), []).append(part)
        for parts in by_number.values():
            for first in range(0, len(parts), AT_ONCE):
                some = parts[first : first + AT_ONCE]
                yield [_bending(part.scenario) for part in some], some


def _together(
    parts: list[ScenarioChoices], names: list[list[str]], root: int, tau: float, intercept_sd: float, n_boot: int
) -> Iterator[tuple[ScenarioChoices, Linearity, Floats]]:
    """Of each scenario that can be tested: the test, and its statistic in data sets drawn from the fit."""
    design = np.stack([part.design() for part in parts])
    squares = np.stack([curved_terms(part.scenario, part.encoded)[1] for part in parts])
    extra = squares[:, :, :-1] - squares[:, :, -1:]
    fits = fit_each(parts, tau, intercept_sd)
    coef, cov = (np.stack(part)[:, None] for part in zip(*fits, strict=True))
    statistic, df, scores, n = _score(design, extra, np.stack([p.outcome for p in parts])[:, None], coef, cov)
    drawn = np.zeros((len(parts), n_boot))
    if n_boot:
        rivals = parts[0].n_options - 1
        prior = np.concatenate([np.full(design.shape[3] - rivals, tau), np.full(rivals, intercept_sd)])
        outcome = np.stack(
            [
                _draw(part, c, n_boot, stream(root, "linearity", part.scenario.id))
                for part, c in zip(parts, coef[:, 0], strict=True)
            ]
        )
        drawn = _score(design, extra, outcome, *_refits(design, outcome, prior, coef[:, 0]))[0]
    for row, part in enumerate(parts):
        value, weighty = float(statistic[row, 0]), float(n[row, 0])
        if df[row, 0] and math.isfinite(value):
            terms = {
                name: (int(np.sign(z)), _p(z * z, 1, weighty))
                for name, z in zip(names[row], scores[row, 0].tolist(), strict=True)
                if math.isfinite(z)
            }
            single = Linearity(value, int(df[row, 0]), _p(value, int(df[row, 0]), weighty), terms)
            yield part, single, np.where(np.isfinite(drawn[row]), drawn[row], 0.0)


def _graded(
    parts: list[ScenarioChoices], names: list[list[str]], root: int, n_boot: int
) -> Iterator[tuple[ScenarioChoices, Linearity, Floats]]:
    """The same of log-odds: F tests of least squares; residuals of the straight fit are permuted for the drawn sets."""
    from scipy.special import fdtrc

    for part, own in zip(parts, names, strict=True):
        assert part.log_odds is not None
        squares = curved_terms(part.scenario, part.encoded)[1]
        basis = np.linalg.qr(part.design()[:, 0])[0]
        rest = squares[:, 0] - squares[:, 1]
        size = np.sqrt((rest**2).sum(axis=0))
        rest -= basis @ (basis.T @ rest)
        residual = part.log_odds - basis @ (basis.T @ part.log_odds)
        extra, spread, _ = np.linalg.svd(rest / np.where(size > 0, size, 1.0), full_matrices=False)
        extra = extra[:, spread > 1e-3]
        df, spare = extra.shape[1], part.n - basis.shape[1] - extra.shape[1]
        if not df or spare < 1 or not (residual**2).sum() > 1e-18 * (part.log_odds**2).sum():
            continue
        rng = stream(root, "linearity", part.scenario.id)
        shuffled = residual[rng.random((n_boot, part.n)).argsort(axis=1)]
        rows = np.concatenate([residual[None], shuffled - (shuffled @ basis) @ basis.T])
        seen, total = ((rows @ extra) ** 2).sum(axis=1), (rows**2).sum(axis=1)
        statistic = seen / np.maximum(total - seen, 1e-300) * spare
        terms = {}
        for name, column, width in zip(own, rest.T, size, strict=True):
            alone = float(column @ column)
            if alone > 1e-6 * width**2:
                share = float(column @ residual) ** 2 / alone / float(total[0])
                left = part.n - basis.shape[1] - 1
                p = float(fdtrc(1, left, share / max(1.0 - share, 1e-300) * left))
                terms[name] = (int(np.sign(column @ residual)), p)
        p = float(fdtrc(df, spare, statistic[0] / df))
        yield part, Linearity(float(statistic[0]), df, p, terms), statistic[1:]


def _draw(choices: ScenarioChoices, coef: Floats, n_boot: int, rng: np.random.Generator) -> Floats:
    """Outcomes of the fitted chooser, [n_boot, n, J - 1]."""
    chance = chances(choices.design(), coef)
    picks = (rng.random((n_boot, choices.n, 1)) > chance.cumsum(axis=1)[:, :-1]).sum(axis=2)
    return np.asarray(picks[..., None] == np.arange(choices.n_options - 1), dtype=np.float64)


def _p(statistic: float, df: int, n: float) -> float:
    """Of a chi-square that was divided by a dispersion from n residuals, its own among them."""
    from scipy.special import betainc

    n = max(n, df + 2.0)  # where so few weigh anything the test is blunt, never sharp
    return float(betainc((n - df) / 2.0, df / 2.0, min(max(1.0 - statistic / n, 0.0), 1.0)))


def _refits(design: Floats, outcome: Floats, prior_sd: Floats, start: Floats) -> tuple[Floats, Floats]:
    """Modes [C, R, Q] and their covariances for R sets of outcomes [C, R, n, J - 1] of trials [C, n, J - 1, Q]."""
    wide = outcome.shape[:2]
    if design.shape[2] > 1:
        many = np.repeat(design, wide[1], axis=0)
        fit = fit_map(many, outcome.reshape(-1, *outcome.shape[2:]), prior_sd, tolerance=1e-6)
        return fit.coef.reshape(*wide, -1), fit.cov.reshape(*wide, *fit.cov.shape[1:])
    x = design[:, :, 0]
    coef = np.swapaxes(fit_replicates(x, np.swapaxes(outcome[..., 0], 1, 2), prior_sd, start=start).coef, 1, 2)
    chance = _chances(design, coef)[..., 0]
    known = _products(chance * (1.0 - chance), x, x)
    return coef, np.asarray(np.linalg.inv(known + np.diag(1.0 / prior_sd**2)), dtype=np.float64)


def _chances(design: Floats, coef: Floats) -> Floats:
    """Of the options but the last, [C, R, n, J - 1], under coefficients [C, R, Q]."""
    return np.stack([chances(own, c)[..., :-1] for own, c in zip(design, coef, strict=True)])


def _products(spread: Floats, a: Floats, b: Floats) -> Floats:
    """Sums over trials of a b' with R sets of weights [C, R, n]: [C, R, columns of a, columns of b]."""
    outer = (a[..., :, None] * b[..., None, :]).reshape(*a.shape[:2], -1)
    return np.asarray((spread @ outer).reshape(*spread.shape[:2], a.shape[2], b.shape[2]))


def _score(
    design: Floats, extra: Floats, outcome: Floats, coef: Floats, cov: Floats
) -> tuple[Floats, NDArray[np.int64], Floats, Floats]:
    """Joint statistics [C, R], their degrees of freedom [C, R], each extra term's own z [C, R, K] and how many equally
    weighty residuals stand behind it, [C, R].

    Args:
        design: The terms fitted, [C, n, J - 1, Q].
        extra: The terms tested, [C, n, J - 1, K].
        outcome: [C, R, n, J - 1].
        coef: Fits of the outcomes, [C, R, Q].
        cov: Their covariances, [C, R, Q, Q].
    """
    parts = (_pair_parts if design.shape[2] == 1 else _parts)(design, extra, outcome, _chances(design, coef), cov)
    size = np.sqrt(np.diagonal(parts.raw, axis1=2, axis2=3))
    size = np.where(size > 0, size, 1.0)
    area = size[..., :, None] * size[..., None, :]
    # On the scale of the raw terms, a term that the straight ones already contain has an eigenvalue of 0.
    values, vectors = np.linalg.eigh(parts.variance / area)
    free = values > 1e-6
    shrunk = vectors * np.where(free, 1.0 / np.where(free, values, 1.0), 0.0)[..., None, :]
    inverse = shrunk @ np.swapaxes(vectors, 2, 3) / area
    # The dispersion, from the residuals where the extra terms look, allowing for what the fit took out of them.
    seen, weight, taken = parts.spread_of(inverse)
    with np.errstate(divide="ignore", invalid="ignore"):
        dispersion = seen / (weight - taken).sum(axis=2)
        statistic = np.einsum("crz,crzy,cry->cr", parts.score, inverse, parts.score) / dispersion
        diagonal = np.diagonal(parts.variance, axis1=2, axis2=3)
        single = np.where(diagonal > 1e-6 * size**2, parts.score / np.sqrt(diagonal * dispersion[..., None]), np.nan)
        n = weight.sum(axis=2) ** 2 / (weight**2).sum(axis=2) * design.shape[2]
    n = np.minimum(n, design.shape[1] * design.shape[2] - design.shape[3])
    return np.asarray(statistic), free.sum(axis=2).astype(np.int64), np.asarray(single), np.asarray(n)


@dataclass(frozen=True)
class _Parts:
    """Score [C, R, K] of the extra terms beside the straight ones, its variance and the raw terms' [C, R, K, K], and
    what the variance's inverse leads to: squares seen [C, R], and what each trial weighs and loses to the fit,
    [C, R, n]."""

    score: Floats
    variance: Floats
    raw: Floats
    spread_of: Callable[[Floats], tuple[Floats, Floats, Floats]]


def _parts(design: Floats, extra: Floats, outcome: Floats, own: Floats, cov: Floats) -> _Parts:
    residual = outcome - own
    spread = own[..., None] * np.eye(own.shape[-1]) - own[..., None] * own[..., None, :]
    straight = np.einsum("crnkl,cnlq->crnkq", spread, design)
    known = _steadied(np.einsum("cnkq,crnks->crqs", design, straight, optimize=True))
    cross = np.einsum("crnkq,cnkz->crqz", straight, extra, optimize=True)
    # What is left of the extra terms beside the straight ones, under the fit's own weights.
    rest = extra[:, None] - np.einsum("cnkq,crqz->crnkz", design, np.linalg.solve(known, cross), optimize=True)
    shaped = np.einsum("crnkl,crnlz->crnkz", spread, rest)

    def spread_of(inverse: Floats) -> tuple[Floats, Floats, Floats]:
        reach = np.einsum("crnkz,crzy->crnky", rest, inverse)
        found = np.einsum("crnkz,crnk->crnz", rest, residual)
        seen = np.einsum("crnz,crzy,crny->cr", found, inverse, found, optimize=True)
        weight = np.einsum("crnky,crnky->crn", reach, shaped)
        taken = np.einsum(
            "crnky,crnkq,crqs,crnls,crnly->crn", reach, straight, cov, straight, rest, optimize=True
        )  # fmt: skip
        return seen, weight, taken

    return _Parts(
        np.einsum("crnkz,crnk->crz", rest, residual, optimize=True),
        np.einsum("crnkz,crnky->crzy", rest, shaped, optimize=True),
        np.einsum("cnkz,crnkl,cnly->crzy", extra, spread, extra, optimize=True),
        spread_of,
    )


def _pair_parts(design: Floats, extra: Floats, outcome: Floats, own: Floats, cov: Floats) -> _Parts:
    """`_parts` of two options, whose spread is one number a trial: plain matrix products."""
    x, e = design[:, :, 0], extra[:, :, 0]
    residual, spread = (outcome - own)[..., 0], (own * (1.0 - own))[..., 0]
    slope = np.linalg.solve(_steadied(_products(spread, x, x)), _products(spread, x, e))
    rest = e[:, None] - x[:, None] @ slope
    turned = np.swapaxes(rest, 2, 3)

    def spread_of(inverse: Floats) -> tuple[Floats, Floats, Floats]:
        reach = ((rest @ inverse) * rest).sum(axis=3)
        pull = ((x[:, None] @ cov) * x[:, None]).sum(axis=3)
        weight = reach * spread
        return (reach * residual**2).sum(axis=2), weight, weight * spread * pull

    return _Parts(
        (turned @ residual[..., None])[..., 0], turned @ (spread[..., None] * rest), _products(spread, e, e), spread_of
    )


def _steadied(known: Floats) -> Floats:
    """Positive also where a predictor never varies."""
    trace = np.trace(known, axis1=2, axis2=3)[..., None, None]
    return np.asarray(known + 1e-10 * trace * np.eye(known.shape[2]))
