"""Do the choices depend on what was shown at all? Tests that all weights are 0, the intercepts left free.

Two statistics ask the same question. The score statistic needs no fit of the weights; against a beta
distribution that has its mean under permuted choices it holds its level from 20 choices on. The
likelihood ratio does not follow its chi-square there (it rejects several times too often, and at 20 choices
Bartlett's correction does not mend it), so it is referred to permuted choices, which is exact.
`docs/statistics.md` has the levels measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from introspect._random import RNG, root_seed, stream
from introspect.measure.by_scenario import ScenarioChoices, alike
from introspect.measure.newton import fit_map
from introspect.measure.replicates import fit_replicates

__all__ = ["LikelihoodRatio", "ScoreTest", "likelihood_ratio", "likelihood_ratios", "score_statistic", "score_test"]

Floats = NDArray[np.float64]

AT_ONCE = 20
"""Scenarios whose permutations are held together."""

LOOSE = 1e3
"""Prior scale, in logits, at which a fit is maximum likelihood for all purposes but stays finite."""


@dataclass(frozen=True)
class ScoreTest:
    """Score tests that all weights are 0, one per context.

    Attributes:
        statistic: Chi-square form, [C].
        df: Weights that the trials can speak of, [C].
        p: Against the beta reference, [C]; NaN where nothing can be tested (no choices, all on one side, no
            predictor varies, or as many weights as choices).
    """

    statistic: Floats
    df: NDArray[np.int64]
    p: Floats


def score_test(design: Floats, outcome: Floats, case: Floats, n_weights: int) -> ScoreTest:
    """Test for every context that no weight matters.

    With two options the statistic over the number of choices is the squared multiple correlation of choices
    and differences; with J options the share explained of n (J - 1) squared standard residuals. Fractional
    outcomes are allowed: only their own spread counts.

    Args:
        design: Differences to the last option, [C, N, J - 1, Q], weights before intercepts; these are added
            where there are none.
        outcome: Chosen or not, or a fraction, [C, N, J - 1].
        case: Case weights, [C, N].
        n_weights: How many of the Q coefficients are weights.

    Example:
        >>> x = np.linspace(-1, 1, 20)
        >>> design = np.stack([x, np.ones(20)], axis=1)[None, :, None]
        >>> chosen = (x > 0).astype(float)[None, :, None]
        >>> bool(score_test(design, chosen, np.ones((1, 20)), 1).p[0] < 1e-4)
        True
    """
    from scipy.special import betainc

    n_rivals = design.shape[2]
    if design.shape[3] == n_weights:  # fitted without intercepts; a liking for a side is still no preference
        sides = np.broadcast_to(np.eye(n_rivals), (*design.shape[:3], n_rivals))
        design = np.concatenate([design, sides], axis=3)
    used = case.sum(axis=1)
    chance = np.einsum("cn,cnk->ck", case, outcome) / np.maximum(used, 1e-300)[:, None]
    score, efficient = _score(design, outcome, case, chance, n_weights)
    statistic = np.einsum("cq,cqr,cr->c", score, _pinv(efficient), score)
    values = np.linalg.eigvalsh(efficient)
    df = (values > 1e-9 * np.maximum(values[:, -1:], 1e-300)).sum(axis=1)
    residual = outcome - chance[:, None, :]
    total = np.einsum("cn,cnk,ckl,cnl->c", case, residual, _pinv(_spread(chance)), residual, optimize=True)
    rest = (used - 1.0) * n_rivals - df
    known = (df > 0) & (rest > 0) & (total > 1e-9)
    share = np.where(known, statistic / np.where(known, total, 1.0), np.nan)
    p = betainc(np.where(known, rest, 1.0) / 2.0, np.maximum(df, 1) / 2.0, np.clip(1.0 - share, 0.0, 1.0))
    return ScoreTest(np.asarray(statistic), df.astype(np.int64), np.where(known, p, np.nan))


def score_statistic(design: Floats, outcome: Floats, case: Floats, chance: Floats, n_weights: int) -> Floats:
    """The chi-square form of `score_test`'s statistic, [C], with the null's probabilities given.

    Args:
        design: Differences to the last option, [C, N, J - 1, Q], weights before intercepts.
        outcome: Chosen or not, [C, N, J - 1].
        case: Case weights, [C, N].
        chance: Probability of each option but the last at any trial under the null, [C, J - 1].
        n_weights: How many of the Q coefficients are weights.
    """
    score, efficient = _score(design, outcome, case, chance, n_weights)
    return np.asarray(np.einsum("cq,cqr,cr->c", score, _pinv(efficient), score))


def _score(design: Floats, outcome: Floats, case: Floats, chance: Floats, n_weights: int) -> tuple[Floats, Floats]:
    """Score of the weights at the null and its variance with the intercepts estimated, [C, P], [C, P, P]."""
    residual = case[..., None] * (outcome - chance[:, None, :])
    score = np.einsum("cnk,cnkq->cq", residual, design)[:, :n_weights]
    information = np.einsum("cn,cnkq,ckl,cnlr->cqr", case, design, _spread(chance), design, optimize=True)
    w, b = slice(0, n_weights), slice(n_weights, design.shape[3])
    # Pseudo-inverses, so that a predictor that never varies costs its degree of freedom and nothing else.
    cross = information[:, w, b]
    efficient = information[:, w, w] - cross @ _pinv(information[:, b, b]) @ np.swapaxes(cross, 1, 2)
    return score, np.asarray((efficient + np.swapaxes(efficient, 1, 2)) / 2.0)


def _spread(chance: Floats) -> Floats:
    eye = np.eye(chance.shape[1])
    return np.asarray(np.einsum("ck,kl->ckl", chance, eye) - np.einsum("ck,cl->ckl", chance, chance))


def _pinv(matrix: Floats) -> Floats:
    return np.asarray(np.linalg.pinv(matrix, rcond=1e-10, hermitian=True))


@dataclass(frozen=True)
class LikelihoodRatio:
    """Twice the log-likelihood that the weights gain over intercepts alone.

    Attributes:
        statistic: Not negative; NaN where all choices are on one side or there are none.
        p: Share of permutations of the choices over the trials that gain as much, the observed one counted.
        n_permutations: How many were drawn.
    """

    statistic: float
    p: float
    n_permutations: int


def likelihood_ratio(choices: ScenarioChoices, rng: RNG, n_permutations: int = 199) -> LikelihoodRatio:
    """Likelihood-ratio test that no weight matters, referred to permuted choices.

    Under the null the choices are exchangeable given how many fell on each side, so the p value is exact in
    samples of any size, also where the likelihood has no maximum.

    Args:
        choices: One scenario.
        rng: Seed; every scenario has a stream of its own.
        n_permutations: The smallest p is 1 / (n_permutations + 1).

    Example:
        >>> from introspect.decision import PreferenceSampler, TrialGenerator, label, organism_scenarios
        >>> from introspect.measure.by_scenario import by_scenario
        >>> contexts = organism_scenarios(1)
        >>> trials = TrialGenerator().trials(contexts, 30, rng=0)
        >>> chooser = label(trials, PreferenceSampler().sample(contexts, rng=0), rng=0)
        >>> likelihood_ratio(by_scenario(chooser)[0], rng=0).p
        0.005
    """
    return likelihood_ratios([choices], rng, n_permutations)[choices.scenario.id]


def likelihood_ratios(
    choices: Sequence[ScenarioChoices], rng: RNG, n_permutations: int = 199
) -> dict[str, LikelihoodRatio]:
    """`likelihood_ratio` of every scenario, by its id: many small fits are quickest together.

    Where all answers of a scenario are graded, the log-odds are tested in place of the choices.
    """
    root = root_seed(rng)
    unknown = LikelihoodRatio(float("nan"), float("nan"), n_permutations)
    found = {part.scenario.id: unknown for part in choices}
    for part in choices:
        if part.graded:
            found[part.scenario.id] = _graded_ratio(part, root, n_permutations)
    tested = [part for part in choices if part.n and np.ptp(part.chosen) and not part.graded]
    for group in alike(tested, at_once=AT_ONCE):
        parts = [tested[i] for i in group]
        permuted = []
        for part in parts:
            shuffle = stream(root, "likelihood ratio", part.scenario.id).random((n_permutations, part.n))
            permuted.append(part.outcome[shuffle.argsort(axis=1)])
        design = np.stack([part.design() for part in parts])
        # Preferences take more steps to fit than none, so the choices as they were are fitted apart.
        seen = _general(design, np.stack([part.outcome for part in parts])[:, None])[:, 0]
        drawn = _likelihoods(design, np.stack(permuted))
        for part, own, others in zip(parts, seen, drawn, strict=True):
            counts = np.bincount(part.chosen)
            null = float((counts[counts > 0] * np.log(counts[counts > 0] / part.n)).sum())
            # Fits stop a hair below their maximum, so equals are told from smaller ones with some slack.
            as_large = int((2.0 * (others - own) >= -1e-4).sum())
            statistic = max(2.0 * (float(own) - null), 0.0)
            found[part.scenario.id] = LikelihoodRatio(statistic, (1 + as_large) / (n_permutations + 1), n_permutations)
    return found


def _graded_ratio(choices: ScenarioChoices, root: int, n_permutations: int) -> LikelihoodRatio:
    """The likelihood ratio of a linear model of the log-odds, whose errors are normal; permuted like choices."""
    assert choices.log_odds is not None
    design = choices.design()[:, 0]
    value = choices.log_odds - choices.log_odds.mean()
    spare = choices.n - design.shape[1]
    total = float(value @ value)
    if spare < 1 or not total:
        return LikelihoodRatio(float("nan"), float("nan"), n_permutations)
    x = design[:, :-1] - design[:, :-1].mean(axis=0)
    basis, size, _ = np.linalg.svd(x, full_matrices=False)
    basis = basis[:, size > 1e-9 * max(size.max(initial=0.0), 1e-300)]
    shuffle = stream(root, "likelihood ratio", choices.scenario.id).random((n_permutations, choices.n))
    rows = np.concatenate([value[None], value[shuffle.argsort(axis=1)]])
    share = np.minimum(((rows @ basis) ** 2).sum(axis=1) / total, 1.0)
    with np.errstate(divide="ignore"):
        statistic = float(-choices.n * np.log1p(-share[0]))
    p = (1 + int((share[1:] >= share[0] - 1e-9).sum())) / len(share)
    return LikelihoodRatio(statistic, p, n_permutations)


def _general(design: Floats, outcome: Floats) -> Floats:
    """`_likelihoods` of any number of options, one fit after the other."""
    many = np.repeat(design, outcome.shape[1], axis=0)
    fit = fit_map(
        many, outcome.reshape(-1, *outcome.shape[2:]), np.full(design.shape[3], LOOSE), tolerance=1e-4,
        max_iterations=60,
    )  # fmt: skip
    return fit.log_likelihood.reshape(outcome.shape[:2])


def _likelihoods(design: Floats, outcome: Floats) -> Floats:
    """Largest log-likelihoods [C, R] of R sets of outcomes [C, R, n, J - 1] of the same trials [C, n, J - 1, Q]."""
    if design.shape[2] > 1:
        return _general(design, outcome)
    x, y = design[:, :, 0], np.swapaxes(outcome[..., 0], 1, 2)
    utility = np.matmul(x, fit_replicates(x, y, np.full(x.shape[2], LOOSE)).coef)
    size = np.abs(utility)
    surprise = np.where(utility >= 0, 1.0 - y, y) * size + np.log1p(np.exp(-size))
    return np.asarray(-surprise.sum(axis=1))
