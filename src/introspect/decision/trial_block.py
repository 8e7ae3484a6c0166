"""Trials of one shape as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from introspect.decision.scenario import DecisionScenario
from introspect.errors import ScenarioError

__all__ = ["TrialBlock"]


@dataclass(frozen=True, eq=False)
class TrialBlock:
    """Trials whose scenarios have the same number of attributes and of predictors, as columns.

    Attributes:
        scenarios: The contexts that `scenario_index` points into; distinct ids.
        scenario_index: int32 [n].
        values: float64 [n, n_options, n_attributes], options in the order shown, attributes in declared order,
            levels as indices.
        label: int8 [n], the chosen option (0 = "A"), -1 for none.
        flipped: bool [n], options are shown in the reverse of the order drawn.
        order: int16 [n, n_attributes], the order in which attributes are listed; the identity by default.

    Raises:
        ScenarioError: The columns do not fit together.

    Example:
        >>> from introspect.decision.attribute import Attribute
        >>> axes = [Attribute(name=n, low=0, high=10) for n in ("p", "q")]
        >>> k = DecisionScenario(id="k", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        >>> block = TrialBlock.of((k,), [0], [[[1, 2], [3, 4]]])
        >>> block.n, block.n_options, block.label.tolist()
        (1, 2, [-1])
    """

    scenarios: tuple[DecisionScenario, ...]
    scenario_index: NDArray[np.int32]
    values: NDArray[np.float64]
    label: NDArray[np.int8]
    flipped: NDArray[np.bool_]
    order: NDArray[np.int16]

    @classmethod
    def of(
        cls,
        scenarios: Sequence[DecisionScenario],
        scenario_index: ArrayLike,
        values: ArrayLike,
        label: ArrayLike | None = None,
        flipped: ArrayLike | None = None,
        order: ArrayLike | None = None,
    ) -> TrialBlock:
        """A block from anything array-like; labels, flips and order default to none, False and declared order."""
        index = np.asarray(scenario_index, dtype=np.int32)
        array = np.asarray(values, dtype=np.float64)
        n, n_attributes = len(index), array.shape[-1] if array.ndim == 3 else 0
        return cls(
            scenarios=tuple(scenarios),
            scenario_index=index,
            values=array,
            label=np.full(n, -1, dtype=np.int8) if label is None else np.asarray(label, dtype=np.int8),
            flipped=np.zeros(n, dtype=np.bool_) if flipped is None else np.asarray(flipped, dtype=np.bool_),
            order=(
                np.tile(np.arange(n_attributes, dtype=np.int16), (n, 1))
                if order is None
                else np.asarray(order, dtype=np.int16)
            ),
        )

    def __post_init__(self) -> None:
        shapes = {(s.n_attributes, s.n_predictors) for s in self.scenarios}
        if len(shapes) != 1:
            raise ScenarioError(
                f"the scenarios of a block must share their numbers of attributes and predictors, got {sorted(shapes)}"
            )
        if len({s.id for s in self.scenarios}) < len(self.scenarios):
            raise ScenarioError("the scenarios of a block must have distinct ids")
        n, k = len(self.scenario_index), self.n_attributes
        if self.values.ndim != 3 or self.values.shape[0] != n or self.values.shape[2] != k:
            raise ScenarioError(f"values must have shape ({n}, options, {k}), got {self.values.shape}")
        if not 2 <= self.n_options <= 26:
            raise ScenarioError(f"a trial must have 2 to 26 options, got {self.n_options}")
        if self.label.shape != (n,) or self.flipped.shape != (n,) or self.order.shape != (n, k):
            raise ScenarioError(
                f"label and flipped must have shape ({n},) and order ({n}, {k}), "
                f"got {self.label.shape}, {self.flipped.shape} and {self.order.shape}"
            )
        if n and not (self.scenario_index.min() >= 0 and self.scenario_index.max() < len(self.scenarios)):
            raise ScenarioError(f"scenario_index must be 0 to {len(self.scenarios) - 1}")
        if n and not (self.label.min() >= -1 and self.label.max() < self.n_options):
            raise ScenarioError(f"label must be -1 (none) to {self.n_options - 1}")
        if not np.isfinite(self.values).all():
            raise ScenarioError("values must be finite")

    @property
    def n(self) -> int:
        """How many trials."""
        return len(self.scenario_index)

    @property
    def n_options(self) -> int:
        """How many options each trial shows."""
        return int(self.values.shape[1])

    @property
    def n_attributes(self) -> int:
        """How many attributes each option has."""
        return self.scenarios[0].n_attributes

    @property
    def n_predictors(self) -> int:
        """How many weights each scenario has."""
        return self.scenarios[0].n_predictors

    @property
    def shape(self) -> tuple[int, int, int]:
        """What all trials of the block share: (n_attributes, n_predictors, n_options)."""
        return (self.n_attributes, self.n_predictors, self.n_options)

    def take(self, where: NDArray[Any] | slice) -> TrialBlock:
        """The trials at these positions (indices, mask or slice)."""
        return TrialBlock(
            self.scenarios,
            self.scenario_index[where],
            self.values[where],
            self.label[where],
            self.flipped[where],
            self.order[where],
        )

    def used(self) -> TrialBlock:
        """The same trials without the scenarios that have none."""
        seen = np.bincount(self.scenario_index, minlength=len(self.scenarios)) > 0
        if seen.all() or not self.n:
            return self
        position = (np.cumsum(seen) - 1).astype(np.int32)
        scenarios = tuple(s for s, keep in zip(self.scenarios, seen, strict=True) if keep)
        return TrialBlock(
            scenarios, position[self.scenario_index], self.values, self.label, self.flipped, self.order
        )

    def encoded(self) -> NDArray[np.float64]:
        """Predictors of every option: [n, n_options, n_predictors], each in [0, 1]; see `DecisionScenario.encode`."""
        plain = all(a.kind != "categorical" for s in self.scenarios for a in s.attributes)
        if not plain:
            return self._encoded_by_scenario()
        low = np.array([[a.low for a in s.attributes] for s in self.scenarios])
        high = np.array([[a.high for a in s.attributes] for s in self.scenarios])
        log = np.array([[a.scale == "log" for a in s.attributes] for s in self.scenarios])
        values = self.values
        if log.any():
            low, high = (
                np.where(log, np.log(np.where(log, low, 1)), low),
                np.where(log, np.log(np.where(log, high, 1)), high),
            )
            where = log[self.scenario_index][:, None, :] & np.ones_like(values, dtype=np.bool_)
            values = np.log(values, out=values.copy(), where=where)
        out = values - low[self.scenario_index][:, None, :]
        out /= (high - low)[self.scenario_index][:, None, :]
        return out

    def _encoded_by_scenario(self) -> NDArray[np.float64]:
        out = np.empty((self.n, self.n_options, self.n_predictors))
        rows = np.argsort(self.scenario_index, kind="stable")
        ends = np.cumsum(np.bincount(self.scenario_index, minlength=len(self.scenarios)))
        for scenario, group in zip(self.scenarios, np.split(rows, ends[:-1]), strict=True):
            out[group] = scenario.encode(self.values[group])
        return out

    def differences(self) -> NDArray[np.float64]:
        """Predictors of the first shown option minus the second: [n, n_predictors], each in [-1, 1].

        Raises:
            ScenarioError: The trials have more than two options.
        """
        if self.n_options != 2:
            raise ScenarioError(
                f"differences need trials of two options, these have {self.n_options}; use encoded()"
            )
        encoded = self.encoded()
        return np.asarray(encoded[:, 0] - encoded[:, 1])
