"""Preferences of many scenarios."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from introspect._notebook import frame_of, html_table
from introspect.decision.by_scenario import ByScenario, json_records
from introspect.decision.preference import Preference
from introspect.decision.scenario import DecisionScenario
from introspect.errors import ScenarioError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PreferenceSet"]


class PreferenceSet(ByScenario[Preference]):
    """A mapping from scenario id to `Preference`, in a fixed order.

    Args:
        preferences: At most one per scenario.

    Raises:
        ScenarioError: Two preferences for one scenario.

    Example:
        >>> wishes = PreferenceSet([Preference(scenario_id="flat", weights={"rent": -100.0, "size": 40.0})])
        >>> wishes["flat"].weights["size"]
        40.0
        >>> PreferenceSet.from_json(wishes.to_json()) == wishes
        True
    """

    noun = "preferences"

    def __init__(self, preferences: Iterable[Preference] = ()) -> None:
        super().__init__(preferences)

    def to_frame(self) -> pd.DataFrame:
        """One row per weight.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return frame_of(
            {"scenario_id": name, "predictor": predictor, "weight": weight}
            for name in self
            for predictor, weight in self[name].weights.items()
        )

    def _repr_html_(self) -> str:
        rows = [[name, ", ".join(f"{k} {w:g}" for k, w in self[name].weights.items())] for name in list(self)[:10]]
        note = f"and {len(self) - 10} more" if len(self) > 10 else ""
        return html_table(repr(self), ["scenario", "weights"], rows, note)

    def normalised(self) -> PreferenceSet:
        """Every preference with its largest magnitude at exactly 100."""
        return PreferenceSet(p.normalised() for p in self.values())

    def matrix(self, scenarios: Iterable[DecisionScenario]) -> NDArray[np.float64]:
        """Weights as rows, [n_scenarios, n_predictors], for scenarios with equal numbers of predictors.

        Raises:
            ScenarioError: A scenario has no preference, or another number of predictors than the first.
        """
        return weight_matrix(self, scenarios)

    def to_json(self) -> str:
        """JSON text that `from_json` reads back without loss."""
        return json.dumps([p.model_dump(mode="json") for p in self.values()], ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ScenarioError: Not JSON, or not a list of preferences.
        """
        return cls(Preference.model_validate(row) for row in json_records(text, cls.noun))

    @property
    def hash(self) -> str:
        """Content hash: equal for equal preferences in equal order."""
        return hashlib.blake2b(self.to_json().encode(), digest_size=16).hexdigest()


def weight_matrix(preferences: Mapping[str, Preference], scenarios: Iterable[DecisionScenario]) -> NDArray[np.float64]:
    """`PreferenceSet.matrix` for any mapping from scenario id to preference."""
    rows: list[NDArray[np.float64]] = []
    for scenario in scenarios:
        if scenario.id not in preferences:
            raise ScenarioError(f"scenario {scenario.id!r} has no preference; {len(preferences)} are given")
        rows.append(preferences[scenario.id].vector(scenario))
        if len(rows[-1]) != len(rows[0]):
            raise ScenarioError(
                f"scenario {scenario.id!r} has {len(rows[-1])} predictors where the first has {len(rows[0])}"
            )
    return np.array(rows, dtype=np.float64).reshape(len(rows), -1)
