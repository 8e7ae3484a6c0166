"""The band of the null of every arm of a stored study, which its ``result.json`` does not hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from introspect._random import RNG
from introspect.decision import ScenarioSet
from introspect.errors import ConfigError
from introspect.measure import Accuracy, AccuracyMetric, WeightsLike
from introspect.show.drawn import number
from introspect.store import Store
from introspect.study import Study
from introspect.study.arms import Arm, arms_of
from introspect.study.graph import run_nodes
from introspect.study.stages import VERSION, Stages
from introspect.study.watch import SilentWatcher

__all__ = ["band_of", "null_bands"]


def band_of(arms: Sequence[Arm]) -> tuple[float, float]:
    """Where 95 % of r's lie when an arm's reports are dealt out to other contexts: mean ends over its seeds."""
    ends = [arm.accuracy.shuffle_quantiles for arm in arms]
    if not ends:
        return math.nan, math.nan
    return sum(end[0] for end in ends) / len(ends), sum(end[2] for end in ends) / len(ends)


def null_bands(store: Store, study: Study, result: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """The bands of a study's arms, from the choices and reports in its file.

    The draws are those that the study itself made, seed for seed. Nothing is asked, trained or written. An arm whose r
    is not the one that the result tells (which then belongs to other settings) has no band.

    Args:
        store: The study's file.
        study: What it was, as its recipe says.
        result: Its ``result.json``.

    Raises:
        IntrospectError: What the file holds cannot be read.
    """
    metric = _NullsAlone(n_boot=1, n_null=study.metric.n_null, n_splits=1)
    stages = _Finished(
        store, study.folder / "models", study.model, ScenarioSet(study.scenarios), ScenarioSet(study.native),
        study.protocol, study.words, SilentWatcher(),
    )  # fmt: skip
    found: dict[str, list[Arm]] = {}
    told: dict[str, list[float]] = {}
    for seed in result.get("seeds") or ():
        if not isinstance(seed, dict) or not isinstance(seed.get("seed"), int):
            continue
        for row in seed.get("arms") or ():
            told.setdefault(str(row.get("name")), []).append(number(row.get("pooled_r")))
        got: dict[str, Any] = {}
        run_nodes(stages.nodes(seed["seed"]), got, stages.journal)
        if "draw" in got:
            for name, arm in arms_of(stages.data(seed["seed"], got), metric).items():
                found.setdefault(name, []).append(arm)
    return {name: band_of(arms) for name, arms in found.items() if _same(arms, told.get(name, []))}


def _same(arms: Sequence[Arm], told: Sequence[float]) -> bool:
    again = [arm.accuracy.pooled_r for arm in arms]
    return len(again) == len(told) and all(abs(a - b) < 1e-9 for a, b in zip(again, told, strict=True))


class _NullsAlone(AccuracyMetric):
    """Of a score only the draws of the nulls are used here, and what else takes time is left out."""

    def score(self, reports: WeightsLike, weights: WeightsLike, rng: RNG, **_: Any) -> Accuracy:
        return super().score(reports, weights, rng)


@dataclass(frozen=True)
class _Finished(Stages):
    """Stages that are only looked up."""

    def _step(
        self, seed: int, name: str, inputs: object, compute: Callable[[], Any], labels: Sequence[str] = ()
    ) -> Any:
        found = self.store.find_step(f"seed {seed}: {name}", [seed, inputs], VERSION)
        if found is None:
            raise ConfigError(f"stage {name!r} of seed {seed} is not finished; run the study on to its end")
        return found.result
