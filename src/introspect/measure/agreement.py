"""Agreement of two vectors in other coin than r: ranks, signs, the heaviest predictor, distance, calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from introspect.measure.learned_weights import LearnedWeights
from introspect.measure.moments import correlation, six_sums
from introspect.measure.pairing import Pairing, WeightsLike

__all__ = [
    "absolute_error",
    "agreement_of",
    "cosines",
    "ranks",
    "sign_hits",
    "spearman_within",
    "top_hits",
    "unsure_signs",
]

Floats = NDArray[np.float64]

NORMAL_975 = 1.959963984540054


def ranks(values: Floats) -> Floats:
    """Ranks on the last axis from 0, the mean rank where values tie.

    Example:
        >>> ranks(np.array([30.0, 10.0, 10.0]))
        array([2. , 0.5, 0.5])
    """
    lower = (values[..., None, :] < values[..., :, None]).sum(axis=-1)
    same = (values[..., None, :] == values[..., :, None]).sum(axis=-1)
    return np.asarray(lower + (same - 1) / 2.0)


def spearman_within(pairing: Pairing) -> Floats:
    """Rank correlation inside each context, [C]; NaN where one side is constant."""
    found = np.full(len(pairing), np.nan)
    for at, said, learned in pairing.groups():
        found[at] = correlation(six_sums(ranks(said), ranks(learned)))
    return found


def cosines(pairing: Pairing) -> Floats:
    """Cosine of the two vectors of each context, [C]. Unlike r it notices a level that all weights share."""
    found = np.full(len(pairing), np.nan)
    for at, said, learned in pairing.groups():
        lengths = np.linalg.norm(said, axis=1) * np.linalg.norm(learned, axis=1)
        found[at] = (said * learned).sum(axis=1) / lengths
    return found


def top_hits(pairing: Pairing) -> Floats:
    """1 where the heaviest predictor was reported as the heaviest, [C]; reports that tie share the hit."""
    found = np.full(len(pairing), np.nan)
    for at, said, learned in pairing.groups():
        heaviest = np.abs(said) >= np.abs(said).max(axis=1, keepdims=True) * (1 - 1e-12)
        hit = heaviest[np.arange(len(at)), np.abs(learned).argmax(axis=1)]
        found[at] = hit / heaviest.sum(axis=1)
    return found


def absolute_error(pairing: Pairing) -> Floats:
    """Sum of |reported - learned| over each context's predictors, on the scale of +-100, [C]."""
    found = np.full(len(pairing), np.nan)
    for at, said, learned in pairing.groups():
        found[at] = np.abs(said - learned).sum(axis=1)
    return found


def sign_hits(pairing: Pairing, unsure: Mapping[str, NDArray[np.bool_]]) -> tuple[Floats, int]:
    """1 or 0 for every predictor whose learned sign is known, in no special order, and how many are not known.

    A learned 0 has no sign to agree with; a reported 0 agrees with none.

    Args:
        pairing: The two sides.
        unsure: Scenario id -> where the learned sign is not known, by `unsure_signs`.
    """
    hits: list[Floats] = []
    ignored = 0
    for name, said, learned in zip(pairing.ids, pairing.said, pairing.learned, strict=True):
        doubtful = unsure.get(name, np.zeros(len(learned), bool))
        used = (learned != 0) & ~doubtful
        ignored += int(np.count_nonzero(doubtful & (learned != 0)))
        hits.append((np.sign(said[used]) == np.sign(learned[used])).astype(float))
    return (np.concatenate(hits) if hits else np.empty(0)), ignored


def unsure_signs(weights: WeightsLike, ids: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Where the 95 % posterior interval of a learned weight covers 0, by scenario; nothing for plain mappings.

    Rescaling a draw never changes its sign, so the interval of a normalised weight covers 0 exactly where that of
    the raw one does, and under a normal posterior that needs no draws.
    """
    if not isinstance(weights, LearnedWeights):
        return {}
    found = {}
    for name in ids:
        i = weights.index(name)
        mean = weights.coef[i]
        error = np.sqrt(np.clip(np.diagonal(weights.cov[i])[: len(mean)], 0.0, None))
        found[name] = np.abs(mean) <= NORMAL_975 * error
    return found


def agreement_of(pairing: Pairing, weights: WeightsLike, reasons: dict[str, str]) -> dict[str, Any]:
    """Everything of this file over all contexts, by field of Accuracy."""
    signs, ignored = sign_hits(pairing, unsure_signs(weights, pairing.ids))
    n_points = sum(map(len, pairing.said))
    spearman = spearman_within(pairing)
    spearman = spearman[np.isfinite(spearman)]
    if not spearman.size:
        reasons["mean_spearman"] = "in no context do both sides vary"
    if not len(pairing):
        names = ("sign_agreement", "top_agreement", "mean_cosine", "mae")
        reasons |= dict.fromkeys(names, "no context could be scored")
    elif not pairing.signed:
        signs, ignored = signs[:0], 0
        reasons["sign_agreement"] = "the reports say no signs; magnitudes were compared"
    elif not signs.size:
        reasons["sign_agreement"] = "the sign of no learned weight is known"
    return {
        "sign_agreement": _mean(signs),
        "n_signs": len(signs),
        "n_signs_ignored": ignored,
        "top_agreement": _mean(top_hits(pairing)),
        "mean_cosine": _mean(cosines(pairing)),
        "mean_spearman": _mean(spearman),
        "mae": float(absolute_error(pairing).sum()) / n_points if n_points else math.nan,
    }


def _mean(values: Floats) -> float:
    return float(np.mean(values)) if len(values) else math.nan
