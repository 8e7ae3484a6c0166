"""Trials of one shape as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
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
        values: float64 [n, n_options, n_attributes], options in the order shown, attributes in declared
            order, levels as indices.
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
        """A block from anything array-like; by default no labels, no flips and declared order."""
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
        return self._unchecked(
            self.scenarios,
            self.scenario_index[where],
            self.values[where],
            self.label[where],
            self.flipped[where],
            self.order[where],
        )

    @classmethod
    def _unchecked(cls, *columns: Any) -> TrialBlock:
        """A part of a checked block needs no second check, whose cost grows with all its scenarios."""
        block = object.__new__(cls)
        for field, column in zip(fields(cls), columns, strict=True):
            object.__setattr__(block, field.name, column)
        return block

    def used(self) -> TrialBlock:
        """The same trials with only the scenarios that have some, in order of their first trial."""
        first = np.full(len(self.scenarios), self.n)
        first[self.scenario_index[::-1]] = np.arange(self.n)[::-1]  # of equal positions the last assignment stays
        order = np.argsort(first, kind="stable")[: int((first < self.n).sum())]
        if len(order) == len(self.scenarios) and (order[1:] > order[:-1]).all():
            return self
        position = np.zeros(len(self.scenarios), dtype=np.int32)
        position[order] = np.arange(len(order))
        return self._unchecked(
            tuple(self.scenarios[i] for i in order),
            position[self.scenario_index],
            self.values,
            self.label,
            self.flipped,
            self.order,
        )

    def check_values(self) -> TrialBlock:
        """This block, if every value lies inside its attribute's range and every level exists.

        Raises:
            ScenarioError: One line naming the first offending scenario, attribute and value.
        """
        low = np.array([[a.low for a in s.attributes] for s in self.scenarios])[self.scenario_index][:, None]
        high = np.array([[a.high for a in s.attributes] for s in self.scenarios])[self.scenario_index][:, None]
        level = np.array([[a.levels is not None for a in s.attributes] for s in self.scenarios])
        bad = (self.values < low) | (self.values > high)
        if level.any():
            bad |= level[self.scenario_index][:, None] & (self.values != np.rint(self.values))
        if bad.any():
            i, option, k = (int(x) for x in np.argwhere(bad)[0])
            scenario = self.scenarios[self.scenario_index[i]]
            axis = scenario.attributes[k]
            raise ScenarioError(
                f"scenario {scenario.id!r}: attribute {axis.name!r}: values must be "
                + (f"levels 0 to {axis.high:g}" if axis.levels else f"{axis.low:g} to {axis.high:g}")
                + f", got {self.values[i, option, k]:g}"
            )
        return self

    @cached_property
    def _ranges(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]] | None:
        """Low ends, widths (on a log scale the logarithm of high / low) and which are logs, each [n_scenarios,
        n_attributes].

        None where an attribute is categorical, so that columns are not attributes.
        """
        axes = [s.attributes for s in self.scenarios]
        if any(a.kind == "categorical" for row in axes for a in row):
            return None
        log = np.array([[a.scale == "log" for a in row] for row in axes])
        ends = np.array([[(a.low, a.high) for a in row] for row in axes])
        low, high = ends[..., 0], ends[..., 1]
        width = high - low
        width[log] = np.log(high[log] / low[log])
        return low, width, log

    def encoded(self, where: slice = slice(None)) -> NDArray[np.float64]:
        """Predictors of every option, each in [0, 1]; see `DecisionScenario.encode`.

        Args:
            where: Only these trials.

        Returns:
            [n, n_options, n_predictors].
        """
        index, values = self.scenario_index[where], self.values[where]
        if self._ranges is None:
            out = np.empty((len(index), self.n_options, self.n_predictors))
            rows = np.argsort(index, kind="stable")
            groups = np.unique(index[rows], return_index=True, return_counts=True)
            for k, start, size in zip(*(part.tolist() for part in groups), strict=True):
                group = rows[start : start + size]
                out[group] = self.scenarios[k].encode(values[group])
            return out
        low, width, log = self._ranges
        floor = low[index][:, None]
        out = values - floor
        if log.any():
            # The logarithm of the ratio, not a difference of logarithms, which would cancel on a narrow range.
            where_log = np.broadcast_to(log[index][:, None], values.shape)
            np.divide(values, floor, out=out, where=where_log)
            np.log(out, out=out, where=where_log)
        out /= width[index][:, None]
        return out

    def differences(self) -> NDArray[np.float64]:
        """Predictors of the first shown option minus the second: [n, n_predictors], each in [-1, 1].

        Raises:
            ScenarioError: The trials have more than two options.
        """
        if self.n_options != 2:
            raise ScenarioError(f"differences need trials of two options, these have {self.n_options}; use encoded()")
        encoded = self.encoded()
        return np.asarray(encoded[:, 0] - encoded[:, 1])
