"""Trials drawn from the grids of their scenarios, at random or by a design."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from introspect._random import RNG, root_seed, stream
from introspect.decision._model import Record
from introspect.decision.designs.audit import audit_sources, is_audit
from introspect.decision.designs.candidates import (
    Indices,
    draw_candidates,
    grids_of,
    has_dominant_option,
    n_distinct,
    repeats_an_option,
    set_codes,
    values_at,
)
from introspect.decision.designs.d_optimal import DOptimal
from introspect.decision.designs.pool import PoolSource
from introspect.decision.designs.sides import balanced_sides
from introspect.decision.labels import LabelRule, label
from introspect.decision.preference import Preference
from introspect.decision.rules.base import ChoiceRule
from introspect.decision.scenario import DecisionScenario, contexts_of
from introspect.decision.trial_block import TrialBlock
from introspect.decision.trial_set import TrialSet
from introspect.errors import ScenarioError

__all__ = ["Design", "TrialGenerator"]

Design = Literal["random", "d-optimal"]

MAX_CLOSE_SHARE = 1 / 3
MAX_AUDIT_SHARE = 1 / 2


class TrialGenerator(Record):
    """Draws trials on the grids of scenarios, before anything is asked.

    No trial shows an option twice, and no two trials of a scenario show the same set of options (but for the
    repeats of an audit). The trials of a scenario depend on the seed and on that scenario alone, and the first n
    of N trials are the n-trial draw.

    Args:
        n_options: Options per trial.
        counterbalance: Show half of the trials (within 1, for every prefix) in the reverse of the order
            drawn.
        max_dominated: Largest share of trials in which one option is at least as good on every weighted
            predictor, kept by every prefix; needs preferences. None: no limit.
        shuffle_attributes: List the attributes in a random order, drawn per trial and recorded.
        design: "random": values are independent and uniform over each attribute's grid (in ratios on a log
            scale), as in arXiv 2505.17120; for what preferences are instilled from. "d-optimal": of the same
            candidates, greedily those that tell most about the weights and least about a liking for a side,
            before any answer is known; for measuring, where it saves a tenth to a half of the trials.
        n_candidates: Candidates that a d-optimal trial is chosen from.
        interior_share: Least share of d-optimal trials that show middle values, without which nobody could tell
            whether utility is linear over the range. Kept by every prefix.
        close_share: Share of d-optimal trials that are close calls under the preferences given, at most a third:
            close calls alone leave the weights' common direction unmeasured. No prefix exceeds it. 0 seeks none
            and forbids none.
        audit_share: Share of trials that repeat an earlier one of their scenario with the options in the
            other order, which shows how far order decides. A repeat's `flipped` is the opposite of the
            original's, its attributes are listed in the same order, and it counts among the n trials. Trials
            that one option dominates are repeated last; `max_dominated` counts originals.

    Raises:
        ScenarioError: A setting is out of range, or belongs to another design.

    Example:
        >>> from introspect.decision.attribute import Attribute
        >>> axes = [Attribute(name=n, low=0, high=100) for n in "pqrst"]
        >>> k = DecisionScenario(id="k1", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        >>> trials = TrialGenerator().trials([k], n=50, rng=0)
        >>> len(trials), int(trials.blocks[0].flipped.sum())
        (50, 25)
        >>> TrialGenerator().trials([k], n=10, rng=0) == trials.take(slice(10))
        True
        >>> apart = TrialGenerator(design="d-optimal").trials([k], n=50, rng=0)
        >>> sizes = [np.linalg.slogdet(x.T @ x)[1] for x in (t.differences(t.blocks[0]) for t in (trials, apart))]
        >>> bool(sizes[1] > sizes[0])
        True
    """

    _kind: ClassVar[str] = "trial generator"

    n_options: int = Field(default=2, ge=2, le=26)
    counterbalance: bool = True
    max_dominated: float | None = Field(default=None, ge=0, le=1)
    shuffle_attributes: bool = False
    design: Design = "random"
    n_candidates: int = Field(default=600, ge=24)
    interior_share: float = Field(default=0.2, ge=0, le=1)
    close_share: float = Field(default=0.0, ge=0)
    audit_share: float = Field(default=0.0, ge=0, le=MAX_AUDIT_SHARE)

    @field_validator("design", mode="before")
    @classmethod
    def _is_static(cls, value: object) -> object:
        if value == "bald":
            raise ValueError(
                "'bald' chooses by the answers so far, so trials cannot be drawn ahead; use measure.AdaptiveProbe"
            )
        return value

    @model_validator(mode="after")
    def _close_calls_are_few(self) -> Self:
        if self.close_share > MAX_CLOSE_SHARE + 1e-9:
            raise ValueError(
                f"close_share must be at most 1/3, got {self.close_share:g}: close calls lie across the expected "
                "weights, and too many of them leave the weights along that direction unmeasured"
            )
        if self.close_share and self.design == "random":
            raise ValueError("close_share belongs to design 'd-optimal', design is 'random'")
        return self

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
            preferences: By scenario id, known or expected. `max_dominated` needs their signs, to know which
                options dominate, and `close_share` their weights; unused otherwise.

        Raises:
            ScenarioError: A scenario's grid cannot give n distinct trials (within the limit on dominated
                ones), or a preference is missing.
        """
        todo = contexts_of(scenarios)
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise ScenarioError(f"n must be a whole number of trials per scenario, 1 or more, got {n!r}")
        if self.max_dominated is not None and preferences is None:
            raise ScenarioError("max_dominated needs preferences, since without their signs nothing dominates")
        if self.close_share and preferences is None:
            raise ScenarioError("close_share needs (expected) preferences, since without weights no call is close")
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
        preferences: Mapping[str, ChoiceRule],
        rule: LabelRule = "deterministic",
        *,
        rng: RNG,
        scale: float | None = None,
        lapse: float | None = None,
    ) -> TrialSet:
        """The same trials with the choices these preferences, or other rules, make; see `label`."""
        return label(trials, preferences, rule, rng=rng, scale=scale, lapse=lapse)

    def _block(
        self,
        scenarios: list[DecisionScenario],
        n: int,
        root: int,
        preferences: Mapping[str, Preference] | None,
    ) -> TrialBlock:
        width, count = scenarios[0].n_attributes, len(scenarios)
        repeats = is_audit(n, self.audit_share)
        flipped = np.tile(repeats, (count, 1))
        if self.counterbalance:
            for k, scenario in enumerate(scenarios):
                flipped[k] = balanced_sides(n, stream(root, "sides", scenario.id))
        weights = [self._weights(scenario, preferences) for scenario in scenarios]
        values = np.empty((count, n, self.n_options, width))
        values[:, ~repeats] = self._originals(scenarios, flipped[:, ~repeats], root, weights)
        order = np.empty((count, n, width), dtype=np.int16)
        order[:] = np.arange(width)
        for k, scenario in enumerate(scenarios):
            if self.shuffle_attributes:
                order[k] = stream(root, "order", scenario.id).random((n, width)).argsort(axis=1)
            if repeats.any():
                easy = self._dominated(scenario, values[k], weights[k])
                audit = stream(root, "audit", scenario.id)
                source = audit_sources(repeats, flipped[k], easy, self.counterbalance, audit)
                values[k], order[k] = values[k, source], order[k, source]
            values[k, flipped[k]] = values[k, flipped[k], ::-1]
        index = np.repeat(np.arange(count, dtype=np.int32), n)
        shown = values.reshape(count * n, self.n_options, width)
        none = np.full(count * n, -1, dtype=np.int8)
        return TrialBlock(tuple(scenarios), index, shown, none, flipped.ravel(), order.reshape(-1, width))

    def _weights(
        self, scenario: DecisionScenario, preferences: Mapping[str, Preference] | None
    ) -> NDArray[np.float64] | None:
        if preferences is None or (self.max_dominated is None and not self.close_share):
            return None
        if scenario.id not in preferences:
            needs = "close_share" if self.max_dominated is None else "max_dominated"
            raise ScenarioError(f"scenario {scenario.id!r} has no preference, which {needs} needs")
        return preferences[scenario.id].vector(scenario)

    def _originals(
        self,
        scenarios: Sequence[DecisionScenario],
        flipped: NDArray[np.bool_],
        root: int,
        weights: Sequence[NDArray[np.float64] | None],
    ) -> NDArray[np.float64]:
        """Trials in the order drawn, none of them a repeat, [C, n, n_options, n_attributes]."""
        n = flipped.shape[1]
        for scenario in scenarios:
            possible = n_distinct(grids_of(scenario), self.n_options)
            if possible < n:
                raise ScenarioError(
                    f"scenario {scenario.id!r}: its {n_distinct(grids_of(scenario), 1)} possible options give only "
                    f"{possible} distinct trials, {n} were asked for; use smaller steps"
                )
        streams = [stream(root, "design", scenario.id) for scenario in scenarios]
        if self.design == "random":
            rows = [
                self._distinct(scenario, n, rng, None if own is None else np.sign(own))
                for scenario, rng, own in zip(scenarios, streams, weights, strict=True)
            ]
            return np.stack(rows)
        sources = [
            PoolSource(scenario, self.n_options, self.n_candidates, rng, own)
            for scenario, rng, own in zip(scenarios, streams, weights, strict=True)
        ]
        design = DOptimal(self.n_candidates, self.interior_share, self.close_share or None, self.max_dominated)
        return design.draw(sources, flipped)

    def _distinct(
        self,
        scenario: DecisionScenario,
        n: int,
        rng: np.random.Generator,
        signs: NDArray[np.float64] | None,
    ) -> NDArray[np.float64]:
        """The first n acceptable trials of one endless stream of candidates, [n, n_options, n_attributes]."""
        grids = grids_of(scenario)
        first = draw_candidates(scenario, grids, n + 4, self.n_options, rng)
        kept = first[~repeats_an_option(first)][:n]
        if signs is None and len(kept) == n and len(np.unique(set_codes(kept))) == n:
            return values_at(grids, kept)
        # Small grids, and limits on dominated trials: one candidate at a time.
        seen: set[frozenset[bytes]] = set()
        accepted: list[Indices] = []
        dominated, tried, limit, batch = 0, 0, 10_000 + 1000 * n, first
        while True:
            tied = repeats_an_option(batch)
            easy = self._dominated(scenario, values_at(grids, batch), signs)
            for row, skip, is_easy in zip(batch, tied.tolist(), easy.tolist(), strict=True):
                if skip or (is_easy and dominated + 1 > (self.max_dominated or 0) * (len(accepted) + 1)):
                    continue
                key = frozenset(option.tobytes() for option in row)
                if key not in seen:
                    seen.add(key)
                    accepted.append(row)
                    dominated += is_easy
                    if len(accepted) == n:
                        return values_at(grids, np.array(accepted))
            tried += len(batch)
            if tried >= limit:
                capped = "" if signs is None else f" with at most {self.max_dominated:g} of them dominated"
                raise ScenarioError(
                    f"scenario {scenario.id!r}: found only {len(accepted)} of {n} distinct trials{capped} "
                    f"among {tried} draws; use smaller steps, fewer trials or a higher max_dominated"
                )
            batch = draw_candidates(scenario, grids, min(max(64, n), 4096), self.n_options, rng)

    def _dominated(
        self, scenario: DecisionScenario, values: NDArray[np.float64], weights: NDArray[np.float64] | None
    ) -> NDArray[np.bool_]:
        if weights is None or self.max_dominated is None:
            return np.zeros(len(values), dtype=np.bool_)
        return has_dominant_option(scenario.encode(values) * np.sign(weights))
