"""Trials drawn at random from the grids of their scenarios."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from introspect._random import RNG, root_seed, stream
from introspect.decision._model import Record
from introspect.decision.labels import LabelRule, label
from introspect.decision.preference import Preference
from introspect.decision.scenario import DecisionScenario
from introspect.decision.trial_block import TrialBlock
from introspect.decision.trial_set import TrialSet
from introspect.errors import ScenarioError

if TYPE_CHECKING:
    from introspect.decision.grid import Grid

__all__ = ["TrialGenerator"]

_Indices = NDArray[np.int64]


class TrialGenerator(Record):
    """Draws trials whose values are independent and uniform over each attribute's grid (in ratios on a log
    scale).

    No trial shows an option twice, and no two trials of a scenario show the same set of options. The trials
    of a scenario depend on the seed and on that scenario alone, and the first n of N trials are the n-trial
    draw.

    Args:
        n_options: Options per trial.
        counterbalance: Show half of the trials (within 1, for every prefix) in the reverse of the order
            drawn.
        max_dominated: Largest share of trials in which one option is at least as good on every weighted
            predictor, kept by every prefix; needs preferences. None: no limit.
        shuffle_attributes: List the attributes in a random order, drawn per trial and recorded.

    Raises:
        ScenarioError: A setting is out of range.

    Example:
        >>> from introspect.decision.attribute import Attribute
        >>> axes = [Attribute(name=n, low=0, high=100) for n in "pqrst"]
        >>> k = DecisionScenario(id="k1", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        >>> trials = TrialGenerator().trials([k], n=50, rng=0)
        >>> len(trials), int(trials.blocks[0].flipped.sum())
        (50, 25)
        >>> TrialGenerator().trials([k], n=10, rng=0) == trials.take(slice(10))
        True
    """

    _kind: ClassVar[str] = "trial generator"

    n_options: int = Field(default=2, ge=2, le=26)
    counterbalance: bool = True
    max_dominated: float | None = Field(default=None, ge=0, le=1)
    shuffle_attributes: bool = False

    def trials(
        self,
        scenarios: Iterable[DecisionScenario],
        n: int,
        rng: RNG,
        preferences: Mapping[str, Preference] | None = None,
    ) -> TrialSet:
        """`n` trials per scenario, unlabelled.

        Args:
            scenarios: Distinct ids.
            n: Trials per scenario.
            rng: Seed or generator.
            preferences: By scenario id; only their signs are used, to know which options dominate. Needed
                where `max_dominated` is set, unused where it is not.

        Raises:
            ScenarioError: A scenario's grid cannot give n distinct trials (within the limit on dominated
                ones), or a preference is missing.
        """
        todo = list(scenarios)
        if isinstance(n, bool) or n < 1:
            raise ScenarioError(f"n must be a whole number of trials per scenario, 1 or more, got {n!r}")
        if self.max_dominated is not None and preferences is None:
            raise ScenarioError("max_dominated needs preferences, since without their signs nothing dominates")
        if len({s.id for s in todo}) < len(todo):
            raise ScenarioError("scenarios must have distinct ids, or their trials would be the same")
        root = root_seed(rng)
        groups: dict[tuple[int, int], list[DecisionScenario]] = {}
        for scenario in todo:
            groups.setdefault((scenario.n_attributes, scenario.n_predictors), []).append(scenario)
        return TrialSet(self._block(group, n, root, preferences) for group in groups.values())

    def label(
        self,
        trials: TrialSet,
        preferences: Mapping[str, Preference],
        rule: LabelRule = "deterministic",
        *,
        rng: RNG,
        scale: float | None = None,
        lapse: float | None = None,
    ) -> TrialSet:
        """The same trials with the choices these preferences make; see `label`."""
        return label(trials, preferences, rule, rng=rng, scale=scale, lapse=lapse)

    def _block(
        self,
        scenarios: list[DecisionScenario],
        n: int,
        root: int,
        preferences: Mapping[str, Preference] | None,
    ) -> TrialBlock:
        total, width = n * len(scenarios), scenarios[0].n_attributes
        values = np.empty((total, self.n_options, width))
        flipped = np.zeros(total, dtype=np.bool_)
        order = np.empty((total, width), dtype=np.int16)
        order[:] = np.arange(width)
        for k, scenario in enumerate(scenarios):
            rows = slice(k * n, (k + 1) * n)
            signs = None
            if self.max_dominated is not None and preferences is not None:
                if scenario.id not in preferences:
                    raise ScenarioError(f"scenario {scenario.id!r} has no preference, which max_dominated needs")
                signs = np.sign(preferences[scenario.id].vector(scenario))
            drawn = self._distinct(scenario, n, stream(root, "design", scenario.id), signs)
            if self.counterbalance:
                flips = _balanced(n, stream(root, "sides", scenario.id))
                drawn[flips] = drawn[flips, ::-1]
                flipped[rows] = flips
            values[rows] = drawn
            if self.shuffle_attributes:
                order[rows] = stream(root, "order", scenario.id).random((n, width)).argsort(axis=1)
        index = np.repeat(np.arange(len(scenarios), dtype=np.int32), n)
        return TrialBlock(tuple(scenarios), index, values, np.full(total, -1, dtype=np.int8), flipped, order)

    def _distinct(
        self,
        scenario: DecisionScenario,
        n: int,
        rng: np.random.Generator,
        signs: NDArray[np.float64] | None,
    ) -> NDArray[np.float64]:
        """The first n acceptable trials of one endless stream of candidates, [n, n_options, n_attributes]."""
        grids = [a.grid for a in scenario.attributes]
        options = math.prod(grid.n for grid in grids)
        if math.comb(options, self.n_options) < n:
            raise ScenarioError(
                f"scenario {scenario.id!r}: its {options} possible options give only "
                f"{math.comb(options, self.n_options)} distinct trials, {n} were asked for; use smaller steps"
            )
        first = self._candidates(scenario, grids, n + 4, rng)
        kept = first[~_repeats_an_option(first)][:n]
        if signs is None and len(kept) == n and _surely_distinct(kept):
            return _values(grids, kept)
        # Small grids, and limits on dominated trials: one candidate at a time.
        seen: set[frozenset[bytes]] = set()
        accepted: list[_Indices] = []
        dominated, tried, limit, batch = 0, 0, 10_000 + 1000 * n, first
        while True:
            tied = _repeats_an_option(batch)
            easy = self._dominated(scenario, _values(grids, batch), signs)
            for row, skip, is_easy in zip(batch, tied.tolist(), easy.tolist(), strict=True):
                if skip or (is_easy and dominated + 1 > (self.max_dominated or 0) * (len(accepted) + 1)):
                    continue
                key = frozenset(option.tobytes() for option in row)
                if key not in seen:
                    seen.add(key)
                    accepted.append(row)
                    dominated += is_easy
                    if len(accepted) == n:
                        return _values(grids, np.array(accepted))
            tried += len(batch)
            if tried >= limit:
                capped = "" if signs is None else f" with at most {self.max_dominated:g} of them dominated"
                raise ScenarioError(
                    f"scenario {scenario.id!r}: found only {len(accepted)} of {n} distinct trials{capped} "
                    f"among {tried} draws; use smaller steps, fewer trials or a higher max_dominated"
                )
            batch = self._candidates(scenario, grids, min(max(64, n), 4096), rng)

    def _candidates(self, scenario: DecisionScenario, grids: list[Grid], m: int, rng: np.random.Generator) -> _Indices:
        """Grid positions of m candidate trials, [m, n_options, n_attributes].

        `Generator.random` spends one word of the stream on each number, so candidate i is the same in every
        batch size.
        """
        draws = rng.random((m, self.n_options, len(grids)))
        sizes = np.array([grid.n for grid in grids])
        index: _Indices = np.minimum((draws * sizes).astype(np.int64), sizes - 1)
        for k, attribute in enumerate(scenario.attributes):
            if attribute.scale == "log":
                ratio = math.log(attribute.high / attribute.low)
                index[..., k] = grids[k].nearest(attribute.low * np.exp(draws[..., k] * ratio))
        return index

    def _dominated(
        self, scenario: DecisionScenario, values: NDArray[np.float64], signs: NDArray[np.float64] | None
    ) -> NDArray[np.bool_]:
        if signs is None:
            return np.zeros(len(values), dtype=np.bool_)
        return has_dominant_option(scenario.encode(values) * signs)


def has_dominant_option(goodness: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which trials have an option that is at least as good as every other on everything.

    Args:
        goodness: [n, n_options, n_predictors], more is better.
    """
    best = goodness.max(axis=1, keepdims=True)
    return np.asarray((goodness == best).all(axis=2).any(axis=1))


def _balanced(n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Every two neighbours hold one of each, so the balance holds for every prefix."""
    coins = rng.random((n + 1) // 2) < 0.5
    return np.stack([coins, ~coins], axis=1).ravel()[:n]


def _values(grids: list[Grid], index: _Indices) -> NDArray[np.float64]:
    out = np.empty(index.shape)
    for k, grid in enumerate(grids):
        out[..., k] = grid.at(index[..., k])
    return out


def _repeats_an_option(index: _Indices) -> NDArray[np.bool_]:
    tied = np.zeros(len(index), dtype=np.bool_)
    for i in range(index.shape[1]):
        for j in range(i):
            tied |= (index[:, i] == index[:, j]).all(axis=1)
    return tied


def _surely_distinct(index: _Indices) -> bool:
    """No two trials with the same set of options; may be False of distinct ones, never True of equal ones."""
    # Equal sets have equal sums of mixed option codes (mod 2^64), whatever the order of the options.
    multipliers = np.random.SeedSequence(5).generate_state(index.shape[2], np.uint64) | np.uint64(1)
    codes = (index.astype(np.uint64) * multipliers).sum(axis=2)
    codes ^= codes >> np.uint64(29)
    codes *= np.uint64(0xBF58476D1CE4E5B9)
    codes ^= codes >> np.uint64(32)
    sums = np.sort(codes.sum(axis=1))
    return bool((sums[1:] != sums[:-1]).all())
