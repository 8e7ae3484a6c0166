"""The weights that choices reveal, with their uncertainty."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from introspect._notebook import frame_of, html_lines, short_repr
from introspect._random import RNG, root_seed, stream
from introspect.decision.preference import Preference
from introspect.errors import MeasureError
from introspect.measure.diagnostics import UNUSABLE, describe

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LearnedWeights"]

Floats = NDArray[np.float64]

_OPTIONAL = ("graded", "log_likelihood", "n_effective")


@dataclass(frozen=True, eq=False)
class LearnedWeights:
    """Part-worths fitted to choices, one vector per scenario, on the scale of logits per declared range.

    A weight is the utility of going from the low to the high end of an attribute's range; "lower is better"
    is a negative weight. Scenarios may differ in their number of predictors.

    Attributes:
        scenario_ids: Names, in the order fitted.
        predictors: Names of each scenario's predictors.
        coef: Weights, one [P] array per scenario.
        intercept: Position effects in logits, one [J - 1] array per scenario with J options: how much more
            the option at that position is chosen than the last one at equal utility.
        cov: Laplace covariance of weights, then intercepts, one [P + J - 1, P + J - 1] array per scenario.
        n_trials: Choices fitted, [C].
        n_missing: Trials without a usable choice, [C].
        flags: Codes of what is remarkable in each scenario (see `introspect.measure.diagnostics`).
        log_evidence: Laplace log marginal likelihood of each scenario's choices, [C]; NaN where answers are graded
            or there is no proper prior.
        tau: Prior standard deviation of a weight, in logits; for "eb" the one that was chosen.
        intercept_sd: Prior standard deviation of an intercept, in logits.
        model: Key of the model that chose; "" where labels were fitted.
        estimator: What fitted plain choices (see `ChoiceModel`).
        graded: What each scenario's weights come from: "" (choices), "ols" (log-odds), "fractional"
            (probabilities). Empty where nobody said.
        log_likelihood: Log-likelihood at the estimate, [C]; of log-odds with "ols". Empty where not recorded.
        n_effective: Trials' worth of information, [C]: a trial that could go either way counts 1, a foregone one
            0, log-odds always 1. Empty where not recorded.
    """

    scenario_ids: tuple[str, ...]
    predictors: tuple[tuple[str, ...], ...]
    coef: tuple[Floats, ...]
    intercept: tuple[Floats, ...]
    cov: tuple[Floats, ...]
    n_trials: NDArray[np.int64]
    n_missing: NDArray[np.int64]
    flags: tuple[tuple[str, ...], ...]
    log_evidence: Floats
    tau: float
    intercept_sd: float
    model: str = ""
    estimator: str = "ridge"
    graded: tuple[str, ...] = ()
    log_likelihood: Floats = field(default_factory=lambda: np.empty(0))
    n_effective: Floats = field(default_factory=lambda: np.empty(0))

    def __len__(self) -> int:
        return len(self.scenario_ids)

    def __contains__(self, scenario_id: object) -> bool:
        return scenario_id in self._places

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.scenario_ids)}

    def index(self, scenario_id: str) -> int:
        """Position of a scenario.

        Raises:
            MeasureError: No weights were fitted for it.
        """
        try:
            return self._places[scenario_id]
        except KeyError:
            raise MeasureError(
                f"no weights for scenario {scenario_id!r}; there are {len(self)}, such as {list(self.scenario_ids[:3])}"
            ) from None

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Whether each scenario's fit converged, [C]."""
        return ~(self.flagged("not_converged") | self.flagged("no_optimum"))

    @property
    def separated(self) -> NDArray[np.bool_]:
        """Whether weights explain every choice of each scenario, so that its likelihood has no maximum, [C]."""
        return self.flagged("separated")

    def flagged(self, code: str) -> NDArray[np.bool_]:
        """Which scenarios have a flag, [C]."""
        return np.array([code in flags for flags in self.flags], dtype=bool)

    def weights(self, scenario_id: str) -> dict[str, float]:
        """Predictor -> weight of one scenario."""
        i = self.index(scenario_id)
        return dict(zip(self.predictors[i], self.coef[i].tolist(), strict=True))

    def standard_errors(self, scenario_id: str) -> dict[str, float]:
        """Predictor -> posterior standard deviation of one scenario's weights."""
        i = self.index(scenario_id)
        spread = np.sqrt(np.diagonal(self.cov[i])[: len(self.coef[i])])
        return dict(zip(self.predictors[i], spread.tolist(), strict=True))

    def unusable(self) -> dict[str, str]:
        """Scenario id -> reason, where choices reveal no weights (all on one side, or none at all)."""
        found = {}
        for name, flags in zip(self.scenario_ids, self.flags, strict=True):
            reason = next((UNUSABLE[flag] for flag in flags if flag in UNUSABLE), None)
            if reason is not None:
                found[name] = reason
        return found

    def undetected(self) -> tuple[str, ...]:
        """Scenarios whose choices show no preference: scaling to 100 makes large weights out of noise there."""
        pairs = zip(self.scenario_ids, self.flags, strict=True)
        return tuple(name for name, flags in pairs if "undetected" in flags)

    def normalised(self) -> LearnedWeights:
        """Each scenario rescaled so that its largest magnitude is 100; NaN where all weights are 0.

        Intercepts and covariances are rescaled along, so `cov` takes the scale as given.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            factors = [100.0 / largest if (largest := np.abs(w).max(initial=0.0)) else math.nan for w in self.coef]
        return replace(
            self,
            coef=tuple(w * f for w, f in zip(self.coef, factors, strict=True)),
            intercept=tuple(b * f for b, f in zip(self.intercept, factors, strict=True)),
            cov=tuple(v * f * f for v, f in zip(self.cov, factors, strict=True)),
        )

    def preference(self, scenario_id: str) -> Preference:
        """One scenario's weights as a Preference, the largest magnitude 100.

        Raises:
            MeasureError: No weights were fitted for it, or its choices reveal none.
        """
        reason = self.unusable().get(scenario_id)
        weights = self.weights(scenario_id)
        largest = max(map(abs, weights.values()), default=0.0)
        if reason is not None or not largest:
            raise MeasureError(f"scenario {scenario_id!r} has no preference: {reason or 'all weights are 0'}")
        scaled = {name: weight / largest * 100.0 for name, weight in weights.items()}
        return Preference(scenario_id=scenario_id, weights=scaled)

    def draws(self, n: int, rng: RNG, normalise: bool = True) -> dict[str, Floats]:
        """Draws from the Laplace posterior of the weights, scenario id -> [n, P].

        Args:
            n: Draws per scenario.
            rng: Seed; a scenario's draws do not depend on which others are there.
            normalise: Rescale each draw so that its largest magnitude is 100.
        """
        drawn = dict(self._drawn(n, root_seed(rng), normalise))
        return {name: drawn[name] for name in self.scenario_ids}

    def _drawn(self, n: int, seed: int, normalise: bool) -> Iterator[tuple[str, Floats]]:
        """One scenario's draws at a time, for those who need not keep them all."""
        for rows, means, covs in self._by_width():
            for i, mean, root in zip(rows, means, _roots(covs), strict=True):
                name = self.scenario_ids[i]
                sample = stream(seed, "posterior", name).standard_normal((n, len(mean))) @ root.T
                sample += mean
                if normalise:
                    sample *= 100.0 / np.abs(sample).max(axis=1, keepdims=True)
                yield name, sample

    def _by_width(self) -> Iterator[tuple[list[int], Floats, Floats]]:
        """Scenarios of equally many weights: numbers, weights [G, P] and their covariances [G, P, P]."""
        groups: dict[int, list[int]] = {}
        for i, mean in enumerate(self.coef):
            groups.setdefault(len(mean), []).append(i)
        for width, rows in groups.items():
            means = np.array([self.coef[i] for i in rows])
            yield rows, means, np.array([self.cov[i][:width, :width] for i in rows])

    def intervals(self, rng: RNG, level: float = 0.95, n: int = 2000) -> dict[str, Floats]:
        """Percentile intervals of the normalised weights from posterior draws, scenario id -> [P, 2]."""
        ends = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
        found = {name: _quantiles(sample, ends) for name, sample in self._drawn(n, root_seed(rng), normalise=True)}
        return {name: found[name] for name in self.scenario_ids}

    def sentences(self) -> list[str]:
        """What is remarkable about the fits, in words."""
        return describe(self.scenario_ids, self.flags, self.intercept, self.n_trials, self.n_missing)

    def select(self, scenario_ids: Sequence[str]) -> LearnedWeights:
        """The same for some of the scenarios, in the order given.

        Raises:
            MeasureError: One of them has no weights.
        """
        rows = [self.index(name) for name in scenario_ids]
        columns: dict[str, Any] = {
            name: tuple(getattr(self, name)[i] for i in rows)
            for name in ("scenario_ids", "predictors", "coef", "intercept", "cov", "flags")
        }
        for name in ("n_trials", "n_missing", "log_evidence", "log_likelihood", "n_effective"):
            columns[name] = getattr(self, name)[rows] if len(getattr(self, name)) else getattr(self, name)
        columns["graded"] = tuple(self.graded[i] for i in rows) if self.graded else ()
        return replace(self, **columns)

    def to_jsonl(self, path: Path | str) -> None:
        """Write JSON Lines: a header line, then one scenario a line."""
        header = {
            "kind": "learned_weights",
            "tau": self.tau,
            "intercept_sd": self.intercept_sd,
            "model": self.model,
            "estimator": self.estimator,
        }
        lines = [header, *(self._row(i) for i in range(len(self)))]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        Path(path).write_text(text, encoding="utf-8", newline="\n")

    @classmethod
    def from_jsonl(cls, path: Path | str) -> LearnedWeights:
        """Read what `to_jsonl` wrote, every number unchanged.

        Raises:
            MeasureError: The file holds something else.
        """
        try:
            lines = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").split("\n") if line]
            if not lines or lines[0].get("kind") != "learned_weights":
                raise ValueError("its first line is not a learned_weights header")
            return cls._from_rows(lines[0], lines[1:])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MeasureError(f"{path} does not hold learned weights: {error}") from None

    def to_frame(self) -> pd.DataFrame:
        """The same as `to_pandas`: every table of the library has a `to_frame`."""
        return self.to_pandas()

    def __repr__(self) -> str:
        return short_repr(self, f"{len(self)} scenarios, estimator {self.estimator!r}, model {self.model!r}")

    def _repr_html_(self) -> str:
        return html_lines(f"Learned weights ({len(self)} scenarios)", self.sentences())

    def to_pandas(self) -> pd.DataFrame:
        """One row per scenario and term (its weights, then its intercepts).

        Covariances with the scenario's terms are a JSON list in the column `covariance`, so nothing is lost.
        """
        rows = []
        for i in range(len(self)):
            entry = self._row(i)
            terms = [("weight", name) for name in self.predictors[i]]
            terms += [("intercept", str(k)) for k in range(len(self.intercept[i]))]
            estimates = [*self.coef[i].tolist(), *self.intercept[i].tolist()]
            for k, (term, name) in enumerate(terms):
                rows.append(
                    {
                        "scenario_id": self.scenario_ids[i],
                        "term": term,
                        "predictor": name,
                        "estimate": estimates[k],
                        "standard_error": math.sqrt(max(self.cov[i][k, k], 0.0)),
                        "n_trials": entry["n_trials"],
                        "n_missing": entry["n_missing"],
                        "flags": " ".join(self.flags[i]),
                        "log_evidence": entry["log_evidence"],
                        "covariance": json.dumps(entry["cov"][k]),
                        "tau": self.tau,
                        "intercept_sd": self.intercept_sd,
                        "model": self.model,
                        "estimator": self.estimator,
                        "graded": entry.get("graded", ""),
                        "log_likelihood": entry.get("log_likelihood", math.nan),
                        "n_effective": entry.get("n_effective", math.nan),
                    }
                )
        return frame_of(rows)

    @classmethod
    def from_pandas(cls, frame: pd.DataFrame) -> LearnedWeights:
        """The inverse of `to_pandas`.

        Raises:
            MeasureError: A column is missing, or the frame is empty.
        """
        try:
            records: list[dict[str, Any]] = [{str(k): v for k, v in r.items()} for r in frame.to_dict("records")]
            header = {name: records[0][name] for name in ("tau", "intercept_sd", "model")}
            header["estimator"] = str(records[0].get("estimator", "ridge"))
            grouped: dict[str, list[dict[str, Any]]] = {}
            for record in records:
                grouped.setdefault(record["scenario_id"], []).append(record)
            rows = []
            for name, terms in grouped.items():
                weights = [t for t in terms if t["term"] == "weight"]
                rows.append(
                    {
                        "scenario_id": name,
                        "predictors": [t["predictor"] for t in weights],
                        "coef": [t["estimate"] for t in weights],
                        "intercept": [t["estimate"] for t in terms if t["term"] == "intercept"],
                        "cov": [json.loads(t["covariance"]) for t in terms],
                        "n_trials": terms[0]["n_trials"],
                        "n_missing": terms[0]["n_missing"],
                        "flags": str(terms[0]["flags"]).split(),
                        "log_evidence": terms[0]["log_evidence"],
                        **{key: terms[0][key] for key in _OPTIONAL if key in terms[0]},
                    }
                )
            return cls._from_rows(header, rows)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise MeasureError(f"this frame does not hold learned weights: {error!r}") from None

    def _row(self, i: int) -> dict[str, Any]:
        row = {
            "scenario_id": self.scenario_ids[i],
            "predictors": list(self.predictors[i]),
            "coef": self.coef[i].tolist(),
            "intercept": self.intercept[i].tolist(),
            "cov": self.cov[i].tolist(),
            "n_trials": int(self.n_trials[i]),
            "n_missing": int(self.n_missing[i]),
            "flags": list(self.flags[i]),
            "log_evidence": float(self.log_evidence[i]),
        }
        if self.graded:
            row["graded"] = self.graded[i]
        for name in ("log_likelihood", "n_effective"):
            if len(getattr(self, name)):
                row[name] = float(getattr(self, name)[i])
        return row

    @classmethod
    def _from_rows(cls, header: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> LearnedWeights:
        def arrays(name: str) -> tuple[Floats, ...]:
            return tuple(np.asarray(row[name], dtype=np.float64) for row in rows)

        return cls(
            scenario_ids=tuple(row["scenario_id"] for row in rows),
            predictors=tuple(tuple(row["predictors"]) for row in rows),
            coef=arrays("coef"),
            intercept=arrays("intercept"),
            cov=arrays("cov"),
            n_trials=np.array([row["n_trials"] for row in rows], dtype=np.int64),
            n_missing=np.array([row["n_missing"] for row in rows], dtype=np.int64),
            flags=tuple(tuple(row["flags"]) for row in rows),
            log_evidence=np.array([row["log_evidence"] for row in rows], dtype=np.float64),
            tau=float(header["tau"]),
            intercept_sd=float(header["intercept_sd"]),
            model=str(header["model"]),
            estimator=str(header.get("estimator", "ridge")),
            graded=tuple(str(row["graded"]) for row in rows) if rows and "graded" in rows[0] else (),
            log_likelihood=np.array([row["log_likelihood"] for row in rows if "log_likelihood" in row], dtype=float),
            n_effective=np.array([row["n_effective"] for row in rows if "n_effective" in row], dtype=float),
        )


def _roots(covs: Floats) -> Floats:
    """Cholesky roots of covariances, [G, P, P]; a direction without doubt gets no spread, NaN stays NaN."""
    largest = np.abs(covs).max(axis=(1, 2), initial=0.0)
    scale = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)[:, None, None]
    unit = np.where(np.isfinite(covs), covs, 0.0) / scale
    unit += np.where(largest > 0, 1e-13, 1.0)[:, None, None] * np.eye(covs.shape[1])
    roots = np.asarray(np.linalg.cholesky(unit) * np.sqrt(scale), dtype=np.float64)
    roots[largest == 0] = 0.0
    roots[~np.isfinite(largest)] = np.nan
    return roots


def _quantiles(sample: Floats, ends: Sequence[float]) -> Floats:
    """Linear quantiles of each column, [P, len(ends)], as numpy's but without its general machinery."""
    place = np.asarray(ends) * (len(sample) - 1)
    low = np.floor(place).astype(np.intp)
    high = np.minimum(low + 1, len(sample) - 1)
    ordered = np.partition(sample.T, np.unique([low, high]), axis=1)
    result: Floats = ordered[:, low] + (place - low) * (ordered[:, high] - ordered[:, low])
    return result
