"""Linear and interaction logits, with prior scales that all scenarios choose together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from introspect.decision.preference import Preference
from introspect.decision.rules.interaction import InteractionRule, product_pairs, product_terms
from introspect.measure.by_scenario import ScenarioChoices
from introspect.measure.dominance import chances
from introspect.measure.newton import fit_map
from introspect.measure.rule_models.common import RulePart

__all__ = ["fit_interaction", "fit_linear", "prior_scales"]

Floats = NDArray[np.float64]

SIDE_SD = 5.0
SCALES = (0.7, 1.5, 3.0, 5.0, 8.0, 13.0, 20.0)
PRODUCT_SCALES = (0.05, 0.5, 1.0, 2.0, 4.0, 8.0, 14.0, 20.0)


def prior_scales(choices: list[ScenarioChoices]) -> tuple[float, float, float]:
    """Prior scales of the highest pooled Laplace evidence, in logits: of weights alone; of weights and of
    products where there are both.

    One choice for all scenarios, so a scenario with few trials borrows from the others. The smallest scale of
    products says that there are none to speak of.
    """
    alone = np.zeros(len(SCALES))
    both = np.zeros((len(SCALES), len(PRODUCT_SCALES)))
    for part in choices:
        if not part.n:
            continue
        alone += _evidence(part, None, np.array([[s] for s in SCALES]))
        pairs = product_pairs(part.scenario)
        grid = np.array([(s, p) for s in SCALES for p in PRODUCT_SCALES])
        if len(pairs):
            both += _evidence(part, pairs, grid).reshape(both.shape)
    row, column = np.unravel_index(both.argmax(), both.shape)
    return SCALES[int(alone.argmax())], SCALES[int(row)], PRODUCT_SCALES[int(column)]


def fit_linear(choices: ScenarioChoices, cases: Floats, tau: float) -> RulePart:
    """Ridge logit with side intercepts.

    Args:
        choices: The scenario.
        cases: Training cases, [F, n].
        tau: Prior scale of a weight, in logits.

    Example:
        >>> from introspect.decision import PreferenceSampler, TrialGenerator, label, organism_scenarios
        >>> from introspect.measure.by_scenario import by_scenario
        >>> contexts = organism_scenarios(1)
        >>> wishes = PreferenceSampler().sample(contexts, rng=0)
        >>> part = by_scenario(label(TrialGenerator().trials(contexts, 60, rng=0), wishes, rng=0))[0]
        >>> found = fit_linear(part, np.ones((1, 60)), tau=20.0).rule.weights
        >>> bool(np.corrcoef(list(found.values()), list(wishes[part.scenario.id].weights.values()))[0, 1] > 0.97)
        True
    """
    coef, probability, n_parameters = _fit(choices, None, cases, tau, tau)
    return RulePart(_scaled(choices, coef), probability, n_parameters)


def fit_interaction(choices: ScenarioChoices, cases: Floats, tau: float, tau_product: float) -> RulePart:
    """Ridge logit with side intercepts and all pairwise products, which have a prior of their own.

    Args:
        choices: The scenario.
        cases: Training cases, [F, n].
        tau: Prior scale of a weight, in logits.
        tau_product: Prior scale of a product's weight.

    Example:
        >>> from introspect.decision import RuleSampler, TrialGenerator, label, organism_scenarios
        >>> from introspect.measure.by_scenario import by_scenario
        >>> contexts = organism_scenarios(1)
        >>> rules = RuleSampler(kind="interaction", n_interactions=1, strength=3).sample(contexts, rng=0)
        >>> part = by_scenario(label(TrialGenerator().trials(contexts, 200, rng=0), rules, rng=0))[0]
        >>> found = fit_interaction(part, np.ones((1, 200)), tau=20.0, tau_product=20.0).rule
        >>> strongest = max(found.interactions, key=lambda pair: abs(pair[2]))
        >>> strongest[:2] == rules[part.scenario.id].interactions[0][:2]
        True
    """
    pairs = product_pairs(choices.scenario)
    coef, probability, n_parameters = _fit(choices, pairs, cases, tau, tau_product)
    names = choices.scenario.predictors
    rule = InteractionRule(
        scenario_id=choices.scenario.id,
        weights=dict(zip(names, coef[: len(names)].tolist(), strict=True)),
        interactions=tuple(
            (names[i], names[j], float(w))
            for (i, j), w in zip(pairs.tolist(), coef[len(names) : len(names) + len(pairs)], strict=True)
        ),
    )
    return RulePart(rule.normalised() if rule.magnitude else rule, probability, n_parameters)


def _scaled(choices: ScenarioChoices, coef: Floats) -> Preference:
    found = Preference.of(choices.scenario, coef[: choices.scenario.n_predictors])
    return found.normalised() if found.magnitude else found


def _design(choices: ScenarioChoices, pairs: NDArray[np.intp] | None) -> Floats:
    if pairs is None:
        return choices.design()
    return choices.design(np.concatenate([choices.encoded, product_terms(choices.encoded, pairs)], axis=2))


def _prior(choices: ScenarioChoices, n_products: int, tau: Floats, tau_product: Floats) -> Floats:
    """[G, Q] of scales [G]."""
    n = (choices.scenario.n_predictors, n_products, choices.n_options - 1)
    return np.concatenate([np.repeat(a[:, None], k, axis=1) for a, k in zip(
        (tau, tau_product, np.full(len(tau), SIDE_SD)), n, strict=True)], axis=1)  # fmt: skip


def _evidence(choices: ScenarioChoices, pairs: NDArray[np.intp] | None, grid: Floats) -> Floats:
    design = _design(choices, pairs)
    prior = _prior(choices, 0 if pairs is None else len(pairs), grid[:, 0], grid[:, -1])
    return fit_map(
        np.broadcast_to(design, (len(grid), *design.shape)),
        np.broadcast_to(choices.share, (len(grid), *choices.share.shape)),
        prior,
        tolerance=1e-5,
    ).log_evidence


def _fit(
    choices: ScenarioChoices, pairs: NDArray[np.intp] | None, cases: Floats, tau: float, tau_product: float
) -> tuple[Floats, Floats, float]:
    """Coefficients from all cases, probabilities from each set of them, and the parameters in effect."""
    design = _design(choices, pairs)
    prior = _prior(choices, 0 if pairs is None else len(pairs), np.array([tau]), np.array([tau_product]))[0]
    fit = fit_map(
        np.broadcast_to(design, (len(cases), *design.shape)),
        np.broadcast_to(choices.outcome, (len(cases), *choices.outcome.shape)),
        prior,
        cases,
        tolerance=1e-6,
    )
    # A coefficient that only the prior holds is no parameter: the trace of the data's share of the precision.
    in_effect = len(prior) - float((np.diagonal(fit.cov[0]) / prior**2).sum())
    return fit.coef[0], chances(design, fit.coef), in_effect
