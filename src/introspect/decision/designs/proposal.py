"""Trials proposed batch by batch, from what is known of the weights so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from introspect._random import stream
from introspect.decision.designs.bald import choose_batch
from introspect.decision.designs.candidates import Indices, grids_of, n_distinct, set_codes, values_at
from introspect.decision.designs.information import no_information, null_rows
from introspect.decision.designs.pool import Pool, PoolSource
from introspect.decision.designs.sides import balanced_sides
from introspect.decision.generator import TrialGenerator
from introspect.decision.scenario import DecisionScenario
from introspect.decision.trial_block import TrialBlock
from introspect.decision.trial_set import TrialSet
from introspect.errors import ScenarioError

__all__ = ["Posterior", "Proposer"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Posterior:
    """What is known of a scenario's weights, then of its position effects.

    Attributes:
        mean: [Q].
        cov: [Q, Q].
        prior_sd: Prior standard deviations, [Q].
        graded: Whether it comes from log-odds instead of choices.
    """

    mean: Floats
    cov: Floats
    prior_sd: Floats
    graded: bool = False


@dataclass
class Proposer:
    """Proposes trials of some scenarios, first a d-optimal start, then batches chosen by the posterior.

    It depends on the seed and on the posteriors alone. Sides and listing orders are those that `generator`
    would give to the same trials.

    Args:
        scenarios: Distinct ids.
        generator: Draws the first trials.
        n_candidates: Fresh candidates that each batch is chosen from.
        root: Seed.
    """

    scenarios: Sequence[DecisionScenario]
    generator: TrialGenerator
    n_candidates: int
    root: int
    _shown: dict[str, list[Indices]] = field(default_factory=dict, init=False)
    _flips: dict[str, list[bool]] = field(default_factory=dict, init=False)
    _batches: int = field(default=0, init=False)

    def start(self, n: int) -> TrialSet:
        """The first n trials of every scenario, drawn ahead.

        Raises:
            ScenarioError: See `TrialGenerator.trials`.
        """
        trials = self.generator.trials(self.scenarios, n, self.root)
        for block in trials.blocks:
            for c, scenario in enumerate(block.scenarios):
                rows = block.scenario_index == c
                grids = grids_of(scenario)
                index = [grid.nearest(block.values[rows, :, k]) for k, grid in enumerate(grids)]
                self._shown[scenario.id] = list(np.stack(index, axis=-1))
                self._flips[scenario.id] = block.flipped[rows].tolist()
        return trials

    def propose(self, posteriors: Mapping[str, Posterior], k: int) -> TrialSet:
        """The next k trials of each scenario that a posterior is given for.

        Raises:
            ScenarioError: A scenario has no k trials left that were not shown.
        """
        self._batches += 1
        todo = [s for s in self.scenarios if s.id in posteriors]
        groups: dict[tuple[int, ...], list[tuple[DecisionScenario, Pool]]] = {}
        for scenario in todo:
            pool = self._pool(scenario, k)
            groups.setdefault((*pool.encoded.shape, scenario.n_attributes), []).append((scenario, pool))
        return TrialSet(self._block(members, posteriors, k) for members in groups.values())

    def _pool(self, scenario: DecisionScenario, k: int) -> Pool:
        rng = stream(self.root, "adaptive", scenario.id, self._batches)
        source = PoolSource(scenario, self.generator.n_options, self.n_candidates, rng)
        seen = set_codes(np.array(self._shown[scenario.id]))
        pool = source.draw()
        free = pool.usable & ~np.isin(pool.code, seen)
        for _ in range(0 if source.complete else 50):
            if free.sum() >= k:
                break
            pool = source.draw()
            free = pool.usable & ~np.isin(pool.code, seen)
        if free.sum() < k:
            possible = n_distinct(grids_of(scenario), self.generator.n_options)
            raise ScenarioError(
                f"scenario {scenario.id!r}: {len(set(seen.tolist()))} of its {possible} distinct trials were shown and "
                f"{k} more were not found; ask fewer, or use smaller steps"
            )
        return replace(pool, usable=free)

    def _block(
        self, members: Sequence[tuple[DecisionScenario, Pool]], posteriors: Mapping[str, Posterior], k: int
    ) -> TrialBlock:
        scenarios = [scenario for scenario, _ in members]
        known = [posteriors[s.id] for s in scenarios]
        flips, orders = np.empty((len(members), k), dtype=np.bool_), []
        for c, scenario in enumerate(scenarios):
            done = len(self._shown[scenario.id])
            flips[c] = balanced_sides(done + k, stream(self.root, "sides", scenario.id))[done:]
            order = np.tile(np.arange(scenario.n_attributes), (k, 1))
            if self.generator.shuffle_attributes:
                draws = stream(self.root, "order", scenario.id).random((done + k, scenario.n_attributes))
                order = draws.argsort(axis=1)[done:]
            orders.append(order)
        linear = np.array([p.graded for p in known])
        cov = [self._asked(s) if p.graded else p.cov for s, p in zip(scenarios, known, strict=True)]
        picked = choose_batch(
            np.stack([pool.encoded for _, pool in members]),
            flips,
            np.stack([pool.usable for _, pool in members]),
            np.stack([p.mean for p in known]),
            np.stack(cov),
            known[0].prior_sd,
            linear,
        )
        values = np.empty((len(members), k, self.generator.n_options, scenarios[0].n_attributes))
        for c, (scenario, pool) in enumerate(members):
            index = pool.index[picked[c]]
            self._shown[scenario.id] += list(index)
            self._flips[scenario.id] += flips[c].tolist()
            values[c] = values_at(grids_of(scenario), index)
            values[c, flips[c]] = values[c, flips[c], ::-1]
        index = np.repeat(np.arange(len(members)), k)
        return TrialBlock.of(
            scenarios,
            index,
            values.reshape(len(index), *values.shape[2:]),
            flipped=flips.ravel(),
            order=np.concatenate(orders),
        )

    def _asked(self, scenario: DecisionScenario) -> Floats:
        """Inverse of the information at the null of the trials shown."""
        grids = grids_of(scenario)
        encoded = scenario.encode(values_at(grids, np.array(self._shown[scenario.id])))
        flips = np.array(self._flips[scenario.id])
        encoded[flips] = encoded[flips, ::-1]
        rows = null_rows(encoded).reshape(-1, scenario.n_predictors + self.generator.n_options - 1)
        none = no_information(1, scenario.n_predictors, self.generator.n_options)[0]
        return np.asarray(np.linalg.inv(np.linalg.inv(none) + rows.T @ rows))
