"""Hidden preferences, drawn at random."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from introspect._random import RNG, root_seed, stream
from introspect.decision._model import Record
from introspect.decision.preference import Preference
from introspect.decision.preference_set import PreferenceSet
from introspect.decision.scenario import DecisionScenario, contexts_of
from introspect.errors import ScenarioError

__all__ = ["PreferenceKind", "PreferenceSampler"]

PreferenceKind = Literal["uniform", "sparse", "sphere", "correlated"]


class PreferenceSampler(Record):
    """Draws one preference per scenario: whole weights from -100 to 100, the largest magnitude exactly 100.

    The draw for a scenario depends on the seed and on that scenario's id and number of predictors, never on
    the other scenarios.

    Args:
        kind: How weights are drawn before they are scaled:
            "uniform": independent from U(-100, 100), as in arXiv 2505.17120 (section 2);
            "sparse": uniform for `n_nonzero` predictors chosen at random, 0 for the others;
            "sphere": a direction uniform on the sphere;
            "correlated": normal, with correlation `rho` between any two scenarios (predictor by predictor),
            so that one shared taste explains part of every context.
        n_nonzero: For "sparse".
        rho: For "correlated", 0 (unrelated) to 1 (the same weights everywhere).
        decimals: Digits after the point; None keeps full precision.

    Raises:
        ScenarioError: A setting is missing, out of range, or belongs to another kind.

    Example:
        >>> from introspect.decision.attribute import Attribute
        >>> axes = [Attribute(name=n, low=0, high=100) for n in "pqrst"]
        >>> k = DecisionScenario(id="k1", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        >>> weights = PreferenceSampler().sample([k], rng=0)["k1"].weights
        >>> max(abs(w) for w in weights.values())
        100.0
    """

    _kind: ClassVar[str] = "preference sampler"

    kind: PreferenceKind = "uniform"
    n_nonzero: int | None = Field(default=None, ge=1)
    rho: float | None = Field(default=None, ge=0, le=1)
    decimals: int | None = Field(default=0, ge=0, le=12)

    @model_validator(mode="after")
    def _settings_fit_the_kind(self) -> Self:
        for field, kind in (("n_nonzero", "sparse"), ("rho", "correlated")):
            given = getattr(self, field) is not None
            if given != (self.kind == kind):
                raise ValueError(f"{field} must be given for kind {kind!r} and for no other, kind is {self.kind!r}")
        return self

    def sample(self, scenarios: Iterable[DecisionScenario], rng: RNG) -> PreferenceSet:
        """One preference per scenario.

        Raises:
            ScenarioError: "sparse" asks for more weights than a scenario has predictors, or "correlated" is
                asked for scenarios with different numbers of predictors.
        """
        root = root_seed(rng)
        todo = contexts_of(scenarios)
        if self.kind == "correlated" and len({s.n_predictors for s in todo}) > 1:
            raise ScenarioError(
                "correlated preferences need scenarios with the same number of predictors, "
                f"got {sorted({s.n_predictors for s in todo})}"
            )
        return PreferenceSet(Preference.of(s, self._scaled(self._draw(s, root))) for s in todo)

    def _draw(self, scenario: DecisionScenario, root: int) -> NDArray[np.float64]:
        n = scenario.n_predictors
        own = stream(root, "preference", scenario.id)
        if self.kind == "sphere":
            return np.asarray(own.standard_normal(n))
        if self.kind == "correlated":
            rho = self.rho or 0.0
            common = stream(root, "preference common").standard_normal(n)
            return np.asarray(np.sqrt(rho) * common + np.sqrt(1 - rho) * own.standard_normal(n))
        weights = own.uniform(-100, 100, n)
        if self.kind == "sparse":
            k = self.n_nonzero or 1
            if k > n:
                raise ScenarioError(f"scenario {scenario.id!r} has {n} predictors, cannot weigh {k} of them")
            weights[own.permutation(n)[k:]] = 0.0
        return weights

    def _scaled(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = weights / np.abs(weights).max() * 100
        if self.decimals is None:
            return scaled
        rounded = np.round(scaled, self.decimals)
        if self.kind == "sparse":  # it promises a number of weights that count, so none may be rounded away
            smallest = np.copysign(10.0**-self.decimals, scaled)
            rounded = np.where((rounded == 0) & (scaled != 0), smallest, rounded)
        return np.asarray(rounded + 0.0)
