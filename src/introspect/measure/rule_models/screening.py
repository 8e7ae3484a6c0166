"""Cut-offs and weights together: the profile likelihood over cut-offs, one attribute after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from introspect.decision.preference import Preference
from introspect.decision.rules.screening import Cutoff, ScreeningRule
from introspect.measure.by_scenario import ScenarioChoices
from introspect.measure.rule_models.common import RulePart

__all__ = ["fit_screening"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BLIND = np.array([0.02, 0.06, 0.15, 0.3])
"""Shares of blind picks under which cut-offs are compared; the share itself is profiled afterwards."""
MAX_CUTS = 3
N_VALUES = 12
"""Cut-offs tried per attribute: quantiles of the values shown, between neighbours."""
N_REFIT = 16
"""So many of the most promising ones are given weights of their own before one is taken."""
N_PAIRED = 40
"""So many are tried two at a time."""
SIDE_SD = 5.0


def fit_screening(choices: ScenarioChoices, cases: Floats, tau: float) -> RulePart:
    """Cut-offs added one at a time while they earn 1.5 logarithms of the number of choices each.

    Trials in which one option passes are decided; in the others a ridge logit with side intercepts decides
    among those that pass (or among all, where none does). A cut-off pays for its place and for the search.

    Args:
        choices: The scenario.
        cases: Training cases, [F, n].
        tau: Prior scale of a weight, in logits.

    Example:
        >>> from introspect.decision import RuleSampler, TrialGenerator, label, organism_scenarios
        >>> from introspect.measure.by_scenario import by_scenario
        >>> contexts = organism_scenarios(1)
        >>> rules = RuleSampler(kind="screening", n_cutoffs=1).sample(contexts, rng=1)
        >>> part = by_scenario(label(TrialGenerator().trials(contexts, 200, rng=0), rules, rng=0))[0]
        >>> found, true = fit_screening(part, np.ones((1, 200)), tau=20.0).rule.cutoffs, rules[part.scenario.id].cutoffs
        >>> [(c.attribute, c.keep) for c in found] == [(c.attribute, c.keep) for c in true]
        True
    """
    cuts, passing = _candidates(choices)
    terms = _terms(choices)
    prior = np.concatenate([np.full(choices.scenario.n_predictors, tau), np.full(choices.n_options - 1, SIDE_SD)])
    fits = [_search(choices, terms, prior, case, cuts, passing) for case in cases]
    probability = np.stack([_soft(terms, coef[None], stay[None])[0] for _, coef, stay in fits])
    kept, coef, stay = fits[0]
    linear = Preference.of(choices.scenario, coef[: choices.scenario.n_predictors])
    linear = linear.normalised() if linear.magnitude else linear
    rule = ScreeningRule(
        scenario_id=choices.scenario.id, weights=linear.weights, cutoffs=tuple(cuts[k] for k in sorted(kept))
    )
    open_to = _open(stay)
    _, cov = _logit(terms, choices.chosen, open_to[None], cases[:1] * _undecided(open_to, choices.chosen), prior)
    in_effect = len(prior) - float((np.diagonal(cov[0]) / prior**2).sum())
    return RulePart(rule, probability, in_effect + 2.0 * len(kept))


def _candidates(choices: ScenarioChoices) -> tuple[list[Cutoff], Bools]:
    """Cut-offs worth trying, and which options pass each, [K, n, J]."""
    cuts, passing = [], [np.ones((0, choices.n, choices.n_options), dtype=np.bool_)]
    directions: tuple[Literal["at_least", "at_most"], ...] = ("at_least", "at_most")
    for k, attribute in enumerate(choices.scenario.attributes):
        shown = choices.values[..., k]
        if attribute.kind == "categorical":
            continue
        places = np.unique(np.quantile(shown, np.linspace(0, 1, N_VALUES + 2)[1:-1], method="nearest"))
        for keep in directions:
            for value in places.tolist():
                stay = shown >= value if keep == "at_least" else shown <= value
                if not stay.all():
                    cuts.append(Cutoff(attribute=attribute.name, keep=keep, value=value))
                    passing.append(stay[None])
    return cuts, np.concatenate(passing)


def _terms(choices: ScenarioChoices) -> Floats:
    """Predictors and a column per position but the last, [n, J, Q]."""
    sides = np.eye(choices.n_options)[:, :-1]
    return np.concatenate([choices.encoded, np.broadcast_to(sides, (choices.n, *sides.shape))], axis=2)


def _search(
    choices: ScenarioChoices, terms: Floats, prior: Floats, case: Floats, cuts: list[Cutoff], passing: Bools
) -> tuple[list[int], Floats, Bools]:
    """Cut-offs taken, weights, and what passes them all, [n, J]."""
    chosen = choices.chosen
    blind = np.bincount(chosen, case, minlength=choices.n_options) + 1.0
    blind = (blind / blind.sum())[chosen]
    cost = 1.5 * float(np.log(max(case.sum(), 2.0)))
    stay = np.ones((choices.n, choices.n_options), dtype=np.bool_)
    coef = _logit(terms, chosen, stay[None], case[None], prior)[0][0]
    value = _value(terms, chosen, coef[None], stay[None], case, blind)[0]
    kept: tuple[int, ...] = ()

    def refit(sets: list[tuple[int, ...]]) -> tuple[Floats, Floats]:
        open_to = _open(np.stack([passing[list(cut)].all(axis=0) for cut in sets]))
        fits, _ = _logit(terms, chosen, open_to, case * _undecided(open_to, chosen), prior, start=coef)
        return fits, _value(terms, chosen, fits, open_to, case, blind)

    while len(kept) < MAX_CUTS:
        now = coef[None]
        sets = _promising(kept, cuts, passing, partial(_rough, terms, chosen, now, case, blind))
        if not sets:
            break
        fits, fine = refit(sets)
        earned = fine - cost * np.array([len(cut) for cut in sets])
        at = int(earned.argmax())
        if earned[at] <= value - cost * len(kept):
            break
        value, coef, kept = float(fine[at]), fits[at], sets[at]
    for k in kept:  # with all the others in place, each value once more
        rest = tuple(other for other in kept if other != k)
        same = [m for m, c in enumerate(cuts) if (c.attribute, c.keep) == (cuts[k].attribute, cuts[k].keep)]
        sets = [(*rest, m) for m in same]
        fits, fine = refit(sets)
        at = int(fine.argmax())
        if fine[at] > value:
            value, coef, kept = float(fine[at]), fits[at], sets[at]
    for k in kept:
        stay &= passing[k]
    return list(kept), coef, stay


def _promising(
    kept: tuple[int, ...], cuts: list[Cutoff], passing: Bools, rough: Callable[[Bools], Floats]
) -> list[tuple[int, ...]]:
    """Sets with one or two cut-offs more that do best with the weights as they are.

    Two at once, since one of two true cut-offs alone foretells wrongly wherever the other one strikes.
    """
    taken = {(cuts[k].attribute, cuts[k].keep) for k in kept}
    free = np.array([k for k, c in enumerate(cuts) if (c.attribute, c.keep) not in taken], dtype=np.intp)
    if not free.size:
        return []
    stay: Bools = np.ones(passing.shape[1:], dtype=np.bool_)
    for k in kept:
        stay &= passing[k]
    single = rough(stay & passing[free])
    order = np.argsort(-single, kind="stable")
    sets = [(*kept, int(k)) for k in free[order[:N_REFIT]]]
    if len(kept) + 2 <= MAX_CUTS:
        some = free[order[:N_PAIRED]]
        pairs = [
            (int(a), int(b))
            for at, a in enumerate(some)
            for b in some[at + 1 :]
            if (cuts[a].attribute, cuts[a].keep) != (cuts[b].attribute, cuts[b].keep)
        ]
        if pairs:
            both = np.array(pairs)
            value = rough(stay & passing[both[:, 0]] & passing[both[:, 1]])
            sets += [(*kept, *pairs[k]) for k in np.argsort(-value, kind="stable")[:N_REFIT].tolist()]
    return sets


def _open(stay: Bools) -> Bools:
    """What can be chosen: what passes, or everything where nothing does."""
    return np.asarray(stay | ~np.any(stay, axis=-1, keepdims=True))


def _undecided(open_to: Bools, chosen: NDArray[np.int64]) -> Floats:
    """1 where the weights had a say: the option taken was open and so was another one, [..., n]."""
    own = np.take_along_axis(open_to, np.broadcast_to(chosen[:, None], (*open_to.shape[:-1], 1)), axis=-1)[..., 0]
    return np.asarray(own & (open_to.sum(axis=-1) > 1), dtype=np.float64)


def _soft(terms: Floats, coef: Floats, stay: Bools) -> Floats:
    """Probabilities among the open options, [M, n, J]."""
    utility = np.where(_open(stay), np.moveaxis(terms @ coef.T, -1, 0), -np.inf)
    power = np.exp(utility - utility.max(axis=2, keepdims=True))
    return np.asarray(power / power.sum(axis=2, keepdims=True))


def _value(terms: Floats, chosen: NDArray[np.int64], coef: Floats, stay: Bools, case: Floats, blind: Floats) -> Floats:
    """Log-likelihood at the best share of blind picks, [M]."""
    own = _soft(terms, coef, stay)[:, np.arange(len(chosen)), chosen]
    share = BLIND[:, None, None]
    return np.asarray((np.log((1 - share) * own + share * blind) @ case).max(axis=0))


def _rough(terms: Floats, chosen: NDArray[np.int64], coef: Floats, case: Floats, blind: Floats, stay: Bools) -> Floats:
    return _value(terms, chosen, coef, stay, case, blind)


def _logit(
    terms: Floats, chosen: NDArray[np.int64], open_to: Bools, cases: Floats, prior: Floats, start: Floats | None = None
) -> tuple[Floats, Floats]:
    """Posterior modes and covariances of logits among open options, for M sets of them: [M, Q], [M, Q, Q]."""
    precision = np.diag(1.0 / prior**2)
    coef = np.zeros((len(open_to), len(prior))) if start is None else np.tile(start, (len(open_to), 1))
    taken = terms[np.arange(len(chosen)), chosen]
    for _ in range(40):
        chance = _soft(terms, coef, open_to)
        mean = np.einsum("mnj,njq->mnq", chance, terms)
        gradient = np.einsum("mn,mnq->mq", cases, taken - mean) - coef @ precision
        weighted = chance * cases[..., None]
        hessian = np.tensordot(weighted, terms[..., :, None] * terms[..., None, :], axes=((1, 2), (0, 1)))
        hessian = hessian - np.swapaxes(mean, 1, 2) @ (mean * cases[..., None]) + precision
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        largest = np.abs(step).max(axis=1)
        # Half steps at first: far from the mode the curvature of a logit understates the way back.
        coef = coef + step * np.minimum(1.0, 4.0 / np.maximum(largest, 1e-300))[:, None]
        if largest.max() < 1e-3:
            break
    return np.asarray(coef), np.asarray(np.linalg.inv(hessian))
