"""Choices that preferences make: synthetic labels for trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from introspect._random import RNG, root_seed, stream
from introspect.decision.preference import Preference
from introspect.decision.preference_set import weight_matrix
from introspect.decision.rules.base import ChoiceRule
from introspect.decision.trial_block import TrialBlock
from introspect.decision.trial_set import TrialSet
from introspect.errors import ScenarioError

__all__ = ["LabelRule", "judged", "label", "utilities"]

LabelRule = Literal["deterministic", "logistic", "lapse"]

_CHUNK = 1 << 15
# Utilities are sums of a few products of numbers of order 1, so a difference below this share of the
# weights' sum is rounding and not preference.
_TIE = 1e-12


def label(
    trials: TrialSet,
    preferences: Mapping[str, ChoiceRule],
    rule: LabelRule = "deterministic",
    *,
    rng: RNG,
    scale: float | None = None,
    lapse: float | None = None,
) -> TrialSet:
    """The same trials, labelled with the options that the preferences, or other rules, choose.

    Args:
        trials: Any number of options.
        preferences: By scenario id; or rules of `introspect.decision.rules`, of one kind or of several.
        rule: "deterministic": the option of highest utility; exact ties are broken by a seeded coin.
            "logistic": option i with probability proportional to exp(scale * utility_i / 100), among those
            that the rule has not ruled out. Lexicographic rules have no utilities to scale noise by: use
            "lapse".
            "lapse": deterministic, but with probability `lapse` an option picked blindly.
        rng: Seed or generator. The labels have streams of their own per scenario: they move neither the
            design nor the labels of other scenarios.
        scale: For "logistic": logits per 100 units of weight over an attribute's whole range (default 10).
        lapse: For "lapse": share of blind picks, 0 to 1 (default 0.1).

    Raises:
        ScenarioError: A scenario has no (fitting) preference, or a setting is out of range or belongs to
            another rule.

    Example:
        >>> from introspect.decision.attribute import Attribute
        >>> from introspect.decision.scenario import DecisionScenario
        >>> axes = [Attribute(name=n, low=0, high=10) for n in "pq"]
        >>> k = DecisionScenario(id="k", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        >>> trials = TrialSet([TrialBlock.of((k,), [0, 0], [[[9, 0], [0, 9]], [[1, 0], [9, 0]]])])
        >>> wish = Preference(scenario_id="k", weights={"p": 100, "q": -20})
        >>> label(trials, {"k": wish}, rng=0).labels.tolist()
        [0, 1]
    """
    if rule not in ("deterministic", "logistic", "lapse"):
        raise ScenarioError(f"rule must be deterministic, logistic or lapse, got {rule!r}")
    if (scale is not None and rule != "logistic") or (lapse is not None and rule != "lapse"):
        raise ScenarioError(f"scale belongs to rule 'logistic' and lapse to rule 'lapse', rule is {rule!r}")
    scale = 10.0 if scale is None else scale
    lapse = 0.1 if lapse is None else lapse
    if not (0 <= scale < np.inf and 0 <= lapse <= 1):
        raise ScenarioError(f"scale must be 0 or more and lapse 0 to 1, got scale={scale} and lapse={lapse}")
    root = root_seed(rng)
    chosen = [np.empty(0, dtype=np.int8)]
    for block in trials.blocks:
        utility, size = judged(block, preferences, rule)
        if rule == "logistic":
            noise = -np.log(-np.log(_draws(block, root, "noise", block.n_options)))
            chosen.append((scale * utility / 100 + noise).argmax(axis=1).astype(np.int8))
            continue
        best = _best(block, utility, size, root)
        if rule == "lapse":
            draws = _draws(block, root, "lapse", 2)
            blind = np.minimum((draws[:, 1] * block.n_options).astype(np.int8), block.n_options - 1)
            best = np.where(draws[:, 0] < lapse, blind, best).astype(np.int8)
        chosen.append(best)
    return trials.with_labels(np.concatenate(chosen))


def judged(
    block: TrialBlock, preferences: Mapping[str, ChoiceRule], noise: LabelRule = "deterministic"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Utility of every option, [n, n_options] (-inf where ruled out), and each scenario's magnitude,
    [n_scenarios].

    Raises:
        ScenarioError: A scenario has no (fitting) rule, or a rule has no utilities that this noise could use.
    """
    rules: dict[str, ChoiceRule] = {}
    for scenario in block.scenarios:
        if scenario.id not in preferences:
            raise ScenarioError(f"scenario {scenario.id!r} has no preference; {len(preferences)} are given")
        rules[scenario.id] = preferences[scenario.id]
        if isinstance(rules[scenario.id], Mapping):
            raise ScenarioError(
                f"scenario {scenario.id!r}: weights alone are no preference; write "
                f"Preference(scenario_id={scenario.id!r}, weights={{...}})"
            )
    linear = {name: rule for name, rule in rules.items() if isinstance(rule, Preference)}
    if len(linear) == len(rules):
        weights = weight_matrix(linear, block.scenarios)
        return utilities(block, weights), np.abs(weights).sum(axis=1)
    utility = np.empty((block.n, block.n_options))
    for k, scenario in enumerate(block.scenarios):
        rule = rules[scenario.id]
        if rule.ordinal and noise == "logistic":
            raise ScenarioError(
                f"scenario {scenario.id!r}: a {type(rule).__name__} says which option is taken and not by how "
                "much, so logistic noise has no scale there; use rule='lapse' or 'deterministic'"
            )
        rows = np.flatnonzero(block.scenario_index == k)
        if isinstance(rule, Preference):  # by the same sums as above, to the last bit
            vectors = np.zeros((len(block.scenarios), block.n_predictors))
            vectors[k] = rule.vector(scenario)
            utility[rows] = utilities(block.take(rows), vectors)
        else:
            utility[rows] = rule.utility(scenario, block.values[rows])
    return utility, np.array([rules[s.id].magnitude for s in block.scenarios])


def utilities(block: TrialBlock, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Utility of every option of a block: [n, n_options].

    Args:
        block: Trials.
        weights: One row per scenario of the block, [n_scenarios, n_predictors].
    """
    out = np.empty((block.n, block.n_options))
    for start in range(0, block.n, _CHUNK):  # chunks that stay in the processor's cache
        rows = slice(start, start + _CHUNK)
        out[rows] = np.einsum("nop,np->no", block.encoded(rows), weights[block.scenario_index[rows]])
    return out


def _best(block: TrialBlock, utility: NDArray[np.float64], size: NDArray[np.float64], root: int) -> NDArray[np.int8]:
    """Option of highest utility; among equals a seeded coin decides, not the order shown."""
    top = utility.max(axis=1, keepdims=True)
    equal = utility >= top - _TIE * size[block.scenario_index][:, None]
    best: NDArray[np.int8] = utility.argmax(axis=1).astype(np.int8)
    tied = np.flatnonzero(equal.sum(axis=1) > 1)
    if tied.size:
        scenarios = np.unique(block.scenario_index[tied])
        coins = _draws(block, root, "tie", block.n_options, only=scenarios)[tied]
        best[tied] = np.where(equal[tied], coins, -1.0).argmax(axis=1)
    return best


def _draws(
    block: TrialBlock, root: int, name: str, width: int, only: NDArray[np.int32] | None = None
) -> NDArray[np.float64]:
    """Uniform numbers in (0, 1), [n, width]: row i of a scenario's own stream for its i-th trial."""
    out = np.full((block.n, width), 0.5)
    rows = np.argsort(block.scenario_index, kind="stable")
    ends = np.cumsum(np.bincount(block.scenario_index, minlength=len(block.scenarios)))
    for k in range(len(block.scenarios)) if only is None else only.tolist():
        group = rows[ends[k - 1] if k else 0 : ends[k]]
        draws = stream(root, "labels", name, block.scenarios[k].id).random((len(group), width))
        out[group] = np.maximum(draws, 2.0**-60)  # never 0, whose logarithm is not finite
    return out
