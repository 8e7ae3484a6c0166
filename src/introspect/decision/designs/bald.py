"""Trials chosen by what their answers would tell about the weights, given the answers so far.

The gain of a candidate is the mutual information of its answer and the weights: the entropy of the expected
answer less the expected entropy ("Bayesian active learning by disagreement", Houlsby et al. 2011). High where
plausible weights disagree firmly; low both where the answer is known and where it is a coin's toss anyway.

Under a normal posterior the utility difference u of two options is normal, so both terms are integrals over
one normal variable. The logistic curve is written as a sum of normal distribution functions and its entropy
as a sum of normal densities, both within 6e-6; their expectations are then closed forms, at any spread of u.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from introspect.decision.designs.d_optimal import best_of
from introspect.decision.designs.information import (
    Information,
    PairInformation,
    SetInformation,
    no_information,
)

__all__ = ["choose_batch", "information_gain", "information_gain_of_draws"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_SCALES = np.geomspace(0.9, 6.0, 8)
_DRAWS = 512


def information_gain(rows: Floats, mean: Floats, cov: Floats) -> Floats:
    """Mutual information, in nats, of the answers to pairs and weights with a normal posterior.

    Args:
        rows: What the log-odds of the first option are linear in, [..., P, Q] (differences, then 1 for a side
            effect).
        mean: Posterior mean, [..., Q].
        cov: Posterior covariance, [..., Q, Q].

    Returns:
        [..., P], 0 to log 2, within 1e-5.

    Example:
        >>> rows = np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> gain = information_gain(rows, np.array([9.0, 0.0]), np.eye(2))
        >>> gain.round(3)     # the first answer is known, the second is not
        array([0.   , 0.094])
    """
    centre = np.matmul(rows, mean[..., None])[..., 0]
    spread = np.maximum((np.matmul(rows, cov) * rows).sum(axis=-1), 0.0)
    return _gain(centre, spread)


def information_gain_of_draws(rows: Floats, draws: Floats) -> Floats:
    """The same for any number of options, from draws of the posterior.

    Args:
        rows: Differences of the options to the last one, then position effects, [P, J - 1, Q].
        draws: [S, Q].

    Returns:
        [P], 0 to log J, with an error of the order of 1 / S.

    Example:
        >>> rows = np.array([[[1.0], [0.5]], [[0.0], [0.0]]])
        >>> gain = information_gain_of_draws(rows, np.array([[-5.0], [5.0]]))
        >>> bool(gain[0] > 0.5), round(float(gain[1]), 9)
        (True, 0.0)
    """
    chance = _chances(rows, draws)
    expected = chance.mean(axis=0)
    return np.asarray(np.maximum(_entropy(expected) - _entropy(chance).mean(axis=0), 0.0))


def choose_batch(
    encoded: Floats,
    flipped: Bools,
    allowed: Bools,
    mean: Floats,
    cov: Floats,
    prior_sd: Floats,
    linear: Bools | None = None,
) -> NDArray[np.intp]:
    """Candidates to ask next, several at once: after each, the posterior is narrowed by what its answer is
    expected to tell, so that the next is not more of the same.

    Where the posterior still is the prior, nothing has been learned that could guide the choice, and the
    candidates are those of the greedy D-optimal design.

    Args:
        encoded: Predictors of the candidates' options in the order drawn, [C, P, J, D].
        flipped: Whether each of the next k trials shows its options in reverse, [C, k].
        allowed: Candidates that may be asked, at least k in each row, [C, P].
        mean: Posterior mean of the weights and position effects, [C, Q].
        cov: Posterior covariance, [C, Q, Q].
        prior_sd: Prior standard deviations, [Q].
        linear: Where the answers are log-odds and not choices, [C]: what a trial tells then does not depend on
            the weights, and the candidates are those that are D-optimal after `cov`, there the inverse of the
            information at the null of what was asked (see `introspect.decision.designs.information`).

    Returns:
        Distinct positions of candidates, [C, k].
    """
    variance = prior_sd**2
    same = np.isclose(cov, np.diag(variance), rtol=1e-6, atol=1e-6 * float(variance.min())).all(axis=(1, 2))
    new = same & (np.abs(mean) <= 1e-6 * prior_sd).all(axis=1)
    known = np.zeros(len(cov), dtype=np.bool_) if linear is None else linear
    picked = np.empty(flipped.shape, dtype=np.intp)
    for which, choose, start in (
        (known, _by_determinant, (cov,)),
        (new & ~known, _by_determinant, (no_information(len(cov), encoded.shape[3], encoded.shape[2]),)),
        (~new & ~known, _by_gain if encoded.shape[2] == 2 else _by_draws, (mean, cov)),
    ):
        if which.any():
            picked[which] = choose(encoded[which], flipped[which], allowed[which], *(part[which] for part in start))
    return picked


def _by_gain(encoded: Floats, flipped: Bools, allowed: Bools, mean: Floats, cov: Floats) -> NDArray[np.intp]:
    x = encoded[:, :, 0] - encoded[:, :, 1]
    rows = np.concatenate([x, np.ones((*x.shape[:2], 1))], axis=2)
    free, cov = allowed.copy(), cov.copy()
    at = np.arange(len(x))
    picked = np.empty(flipped.shape, dtype=np.intp)
    for t, flips in enumerate(flipped.T):
        # Reversing the options turns (x, 1) into (-x, 1), which tells the same as (x, -1).
        rows[:, :, -1] = np.where(flips, -1.0, 1.0)[:, None]
        best = best_of(information_gain(rows, mean, cov), free)
        picked[:, t], free[at, best] = best, False
        row = rows[at, best]
        turned = np.matmul(cov, row[..., None])[..., 0]
        spread = (turned * row).sum(axis=1)
        weight = _slope((row * mean).sum(axis=1), spread)
        cov -= (weight / (1.0 + weight * spread))[:, None, None] * turned[:, :, None] * turned[:, None, :]
    return picked


def _by_draws(encoded: Floats, flipped: Bools, allowed: Bools, mean: Floats, cov: Floats) -> NDArray[np.intp]:
    n_rivals = encoded.shape[2] - 1
    # The same standard draws for everyone: what is compared are candidates, not chances.
    standard = np.random.default_rng(20110405).standard_normal((_DRAWS // 2, mean.shape[1]))
    standard = np.concatenate([standard, -standard])
    picked = np.empty(flipped.shape, dtype=np.intp)
    for c, (options, free) in enumerate(zip(encoded, allowed.copy(), strict=True)):
        spread = cov[c]
        for t, flip in enumerate(flipped[c].tolist()):
            shown = options[:, ::-1] if flip else options
            rows = np.empty((len(options), n_rivals, mean.shape[1]))
            rows[..., : shown.shape[2]] = shown[:, :-1] - shown[:, -1:]
            rows[..., shown.shape[2] :] = np.eye(n_rivals)
            draws = mean[c] + standard @ np.linalg.cholesky(spread).T
            best = int(best_of(information_gain_of_draws(rows, draws)[None], free[None])[0])
            picked[c, t], free[best] = best, False
            chance = _chances(rows[best : best + 1], draws)[:, 0, :-1]
            weight = np.diag(chance.mean(axis=0)) - chance.T @ chance / len(chance)
            precision = np.linalg.inv(spread) + rows[best].T @ weight @ rows[best]
            spread = np.linalg.inv((precision + precision.T) / 2.0)
            spread = (spread + spread.T) / 2.0
    return picked


def _by_determinant(encoded: Floats, flipped: Bools, allowed: Bools, inverse: Floats) -> NDArray[np.intp]:
    n, size, n_options, width = encoded.shape
    information: Information = (
        PairInformation(n, size, width, inverse) if n_options == 2 else SetInformation(n, width, n_options, inverse)
    )
    information.load(encoded, slice(None))
    free, at = allowed.copy(), np.arange(n)
    picked = np.empty(flipped.shape, dtype=np.intp)
    for t, flips in enumerate(flipped.T):
        best = best_of(information.gains(flips), free)
        information.add(best, flips)
        picked[:, t], free[at, best] = best, False
    return picked


def _gain(centre: Floats, spread: Floats) -> Floats:
    from scipy.special import entr, ndtr

    to_entropy, to_chance = _sums()
    expected, entropy = np.full(centre.shape, 0.5), np.zeros(centre.shape)
    for scale, density, step in zip(_SCALES, to_entropy, to_chance, strict=True):
        total = scale**2 + spread
        ratio = centre / np.sqrt(total)
        entropy += density * scale / np.sqrt(total) * np.exp(-(ratio**2) / 2.0)
        expected += step * (ndtr(ratio) - 0.5)
    expected = np.clip(expected, 0.0, 1.0)
    return np.asarray(np.maximum(entr(expected) + entr(1.0 - expected) - entropy, 0.0))


def _slope(centre: Floats, spread: Floats) -> Floats:
    """Expected p (1 - p): how much information the answer carries about the log-odds."""
    total = np.zeros(centre.shape)
    for scale, step in zip(_SCALES, _sums()[1], strict=True):
        width = scale**2 + spread
        total += step / np.sqrt(2.0 * np.pi * width) * np.exp(-(centre**2) / (2.0 * width))
    return np.maximum(total, 0.0)


@cache
def _sums() -> tuple[Floats, Floats]:
    """Coefficients of the entropy of the logistic curve in normal densities (height 1 at 0) of `_SCALES`, and of the
    curve itself, less 1/2, in normal distribution functions."""
    from scipy.special import entr, expit, ndtr

    u = np.linspace(0.0, 40.0, 2001)
    density = np.exp(-(u[:, None] ** 2) / (2.0 * _SCALES**2))
    step = ndtr(u[:, None] / _SCALES) - 0.5
    entropy = entr(expit(u)) + entr(expit(-u))
    return (
        np.asarray(np.linalg.lstsq(density, entropy, rcond=1e-12)[0]),
        np.asarray(np.linalg.lstsq(step, expit(u) - 0.5, rcond=1e-12)[0]),
    )


def _chances(rows: Floats, draws: Floats) -> Floats:
    """Choice probabilities, the last option included: [S, P, J]."""
    utility = np.moveaxis(np.matmul(rows, draws.T), -1, 0)
    utility = np.concatenate([utility, np.zeros((*utility.shape[:2], 1))], axis=2)
    powers = np.exp(utility - utility.max(axis=2, keepdims=True))
    return np.asarray(powers / powers.sum(axis=2, keepdims=True))


def _entropy(chance: Floats) -> Floats:
    from scipy.special import entr

    return np.asarray(entr(chance).sum(axis=-1))
