"""What a model said its weights are, report by report, with everything it said."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from introspect._notebook import html_lines, short_repr
from introspect.decision.trial import Trial
from introspect.errors import MeasureError
from introspect.measure.tabular import frame_of, number, read_csv, read_jsonl, require, rows_of, write_csv, write_jsonl

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ReportTable"]

Floats = NDArray[np.float64]

_COLUMNS = (
    "scenario_id", "repeat", "predictor", "weight", "status", "text", "problems", "shown", "model", "probe",
    "seed", "signed",
)  # fmt: skip
_FIELDS = ("scenario_id", "repeat", "status", "weights", "text", "problems", "shown")
_SOURCE = ("model", "probe", "seed", "signed")


@dataclass(frozen=True, eq=False)
class ReportTable:
    """A model's reported weights, one row per (scenario, repeat).

    Attributes:
        scenario_ids: The scenarios asked about, each once.
        predictors: Names of each scenario's predictors.
        scenario_index: Scenario of each row, [n].
        repeat: Which repeat of the scenario each row is, from 0, [n].
        status: What became of each report, [n] (see `introspect.decision.reading`); only "answered" is
            complete.
        weights: Reported weights, [n, most predictors of any scenario]; NaN where not given. Rows that are
            not "answered" keep the part that was understood, and are never used.
        text: Raw replies, one tuple per row (a report may take several prompts).
        problems: What was wrong with each row, in sentences.
        shown: The options that each report's prompt showed, None where it showed none.
        model: Key of the model that reported.
        probe: Id of the probe and style that asked.
        seed: Root seed of the options shown and of sampling.
        signed: Whether the weights have signs; rankings and comparisons say only how heavily each weighs.

    Raises:
        MeasureError: The columns do not fit together.
    """

    scenario_ids: tuple[str, ...]
    predictors: tuple[tuple[str, ...], ...]
    scenario_index: NDArray[np.int32]
    repeat: NDArray[np.int32]
    status: NDArray[np.str_]
    weights: Floats
    text: tuple[tuple[str, ...], ...]
    problems: tuple[tuple[str, ...], ...]
    shown: tuple[Trial | None, ...]
    model: str = ""
    probe: str = "given"
    seed: int = 0
    signed: bool = True

    def __post_init__(self) -> None:
        n = len(self.scenario_index)
        columns = ("repeat", "status", "weights", "text", "problems", "shown")
        wrong = {name: len(getattr(self, name)) for name in columns if len(getattr(self, name)) != n}
        if wrong:
            raise MeasureError(f"{n} reports need {n} rows in every column, got {wrong}")
        if len(set(self.scenario_ids)) < len(self.scenario_ids) or len(self.predictors) != len(self.scenario_ids):
            raise MeasureError("scenario ids must be distinct and have predictors each")
        wide = {len(names) for names in self.predictors}
        if self.weights.ndim != 2 or max(wide, default=0) > self.weights.shape[1]:
            raise MeasureError(f"weights must have a column per predictor, got shape {self.weights.shape}")

    @classmethod
    def from_weights(
        cls, reports: Mapping[str, Mapping[str, float]], model: str = "", probe: str = "given"
    ) -> ReportTable:
        """A table of one complete report per scenario, from anywhere.

        Example:
            >>> table = ReportTable.from_weights({"flat": {"rent": -80.0, "size": 20.0}})
            >>> table.mean()
            {'flat': {'rent': -80.0, 'size': 20.0}}
        """
        rows: list[dict[str, Any]] = [
            {"scenario_id": name, "repeat": 0, "status": "answered", "weights": dict(weights), "text": [],
             "problems": [], "shown": None}
            for name, weights in reports.items()
        ]  # fmt: skip
        predictors = {name: list(weights) for name, weights in reports.items()}
        return cls.of_rows(rows, predictors, {"model": model, "probe": probe, "seed": 0, "signed": True})

    @classmethod
    def concat(cls, tables: Sequence[ReportTable]) -> ReportTable:
        """The reports of several tables on different scenarios, as one.

        Such are the held-out reports of several folds. Where models, probes or seeds differ, the result names
        them all, joined by "+" (for seeds: -1).

        Raises:
            MeasureError: No tables, a scenario in two of them, or signed and unsigned reports mixed.

        Example:
            >>> a = ReportTable.from_weights({"flat": {"rent": -80.0}}, model="fold 1")
            >>> b = ReportTable.from_weights({"boat": {"size": 20.0}}, model="fold 2")
            >>> both = ReportTable.concat([a, b])
            >>> both.model, sorted(both.mean())
            ('fold 1+fold 2', ['boat', 'flat'])
        """
        from introspect.measure.report_join import joined_reports

        return joined_reports(tables)

    def __len__(self) -> int:
        return len(self.scenario_index)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ReportTable):
            return NotImplemented
        names = (
            "scenario_ids",
            "predictors",
            "text",
            "problems",
            "shown",
            "model",
            "probe",
            "seed",
            "signed",
        )
        return (
            all(getattr(self, name) == getattr(other, name) for name in names)
            and all(np.array_equal(getattr(self, n), getattr(other, n)) for n in ("scenario_index", "repeat", "status"))
            and np.array_equal(self.weights, other.weights, equal_nan=True)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Where everything asked for was reported, [n]."""
        complete: NDArray[np.bool_] = self.status == "answered"
        return complete

    @property
    def response_rate(self) -> float:
        """Share of the reports that can be used; NaN where none were asked for."""
        return float(self.valid.mean()) if len(self) else math.nan

    @property
    def coverage(self) -> float:
        """Share of the scenarios with at least one usable report; NaN where none were asked about."""
        if not self.scenario_ids:
            return math.nan
        return len(np.unique(self.scenario_index[self.valid])) / len(self.scenario_ids)

    def statuses(self) -> dict[str, int]:
        """How many reports ended in each status, most frequent first."""
        return dict(Counter(self.status.tolist()).most_common())

    def mean(self) -> dict[str, dict[str, float]]:
        """Average of each scenario's usable reports, not rescaled. Scenarios without one are absent."""
        valid = self.valid
        counts = np.bincount(self.scenario_index[valid], minlength=len(self.scenario_ids))
        sums = np.zeros((len(self.scenario_ids), self.weights.shape[1]))
        np.add.at(sums, self.scenario_index[valid], self.weights[valid])
        return {
            name: dict(zip(names, (sums[c, : len(names)] / counts[c]).tolist(), strict=True))
            for c, (name, names) in enumerate(zip(self.scenario_ids, self.predictors, strict=True))
            if counts[c]
        }

    def reports(self, scenario_id: str) -> list[dict[str, float]]:
        """The usable reports of one scenario, in the order asked.

        Raises:
            MeasureError: The scenario was not asked about.
        """
        if scenario_id not in self.scenario_ids:
            raise MeasureError(f"scenario {scenario_id!r} was not asked about; {len(self.scenario_ids)} others were")
        c = self.scenario_ids.index(scenario_id)
        rows = self.weights[self.valid & (self.scenario_index == c)]
        return [dict(zip(self.predictors[c], row.tolist(), strict=False)) for row in rows]

    def select(self, scenario_ids: Iterable[str]) -> ReportTable:
        """The rows of some of the scenarios.

        Raises:
            MeasureError: One of them was not asked about.
        """
        wanted = set(scenario_ids)
        unknown = sorted(wanted - set(self.scenario_ids))
        if unknown:
            raise MeasureError(f"scenarios {unknown[:5]} were not asked about")
        kept = [c for c, name in enumerate(self.scenario_ids) if name in wanted]
        place = np.full(len(self.scenario_ids), -1, dtype=np.int32)
        place[kept] = np.arange(len(kept))
        rows = np.flatnonzero(place[self.scenario_index] >= 0)
        return replace(
            self,
            scenario_ids=tuple(self.scenario_ids[c] for c in kept),
            predictors=tuple(self.predictors[c] for c in kept),
            scenario_index=place[self.scenario_index[rows]],
            repeat=self.repeat[rows],
            status=self.status[rows],
            weights=self.weights[rows],
            text=tuple(self.text[i] for i in rows),
            problems=tuple(self.problems[i] for i in rows),
            shown=tuple(self.shown[i] for i in rows),
        )

    def sentences(self) -> list[str]:
        """The table in words."""
        n = len(self)
        if not n:
            return ["No report was asked for."]
        return [
            f"{int(self.valid.sum())} of {n} reports on {len(self.scenario_ids)} scenarios were complete; "
            f"{self.coverage:.0%} of the scenarios have at least one.",
            *(f"{count} {status}." for status, count in self.statuses().items() if status != "answered"),
        ]

    def to_jsonl(self, path: Path | str) -> None:
        """Write JSON Lines: a header with model, probe and predictors, then one report a line."""
        header = {**self._source(), "predictors": dict(zip(self.scenario_ids, self.predictors, strict=True))}
        write_jsonl(path, "report_table", header, self.to_rows())

    @classmethod
    def from_jsonl(cls, path: Path | str) -> ReportTable:
        """Read what `to_jsonl` wrote, every value unchanged.

        Raises:
            MeasureError: The file holds something else.
        """
        header, rows = read_jsonl(path, "report_table")
        require(header, (*_SOURCE, "predictors"), f"the first line of {path}")
        return cls.of_rows(rows, header["predictors"], header)

    def to_csv(self, path: Path | str) -> None:
        """Write tidy CSV: one row per reported weight; texts, problems and shown options are JSON."""
        write_csv(path, self._flat_rows(), _COLUMNS)

    @classmethod
    def from_csv(cls, path: Path | str) -> ReportTable:
        """Read what `to_csv` wrote.

        Raises:
            MeasureError: A column is missing.
        """
        return cls._from_flat_rows(read_csv(path, _COLUMNS))

    def to_frame(self) -> pd.DataFrame:
        """The same as `to_pandas`: every table of the library has a `to_frame`."""
        return self.to_pandas()

    def __repr__(self) -> str:
        return short_repr(self, f"{len(self)} reports on {len(self.scenario_ids)} scenarios, model {self.model!r}")

    def _repr_html_(self) -> str:
        return html_lines(f"Reports ({len(self)} rows)", self.sentences())

    def to_pandas(self) -> pd.DataFrame:
        """One row per reported weight, with the columns of the CSV."""
        return frame_of(self._flat_rows(), _COLUMNS)

    @classmethod
    def from_pandas(cls, frame: pd.DataFrame) -> ReportTable:
        """The inverse of `to_pandas`; also reads a frame that pandas read from the CSV.

        Raises:
            MeasureError: A column is missing.
        """
        return cls._from_flat_rows(rows_of(frame, _COLUMNS))

    @classmethod
    def of_rows(
        cls,
        rows: Sequence[Mapping[str, Any]],
        predictors: Mapping[str, Sequence[str]],
        source: Mapping[str, Any],
    ) -> ReportTable:
        """A table from one plain record per report.

        Args:
            rows: scenario_id, repeat, status, weights (by predictor), text, problems and shown of each
                report.
            predictors: Predictors of every scenario asked about.
            source: model, probe, seed and signed.

        Raises:
            MeasureError: A row is of a scenario or predictor that is not listed.
        """
        names = {scenario: tuple(own) for scenario, own in predictors.items()}
        place = {scenario: number for number, scenario in enumerate(names)}
        weights = np.full((len(rows), max(map(len, names.values()), default=0)), np.nan)
        for i, row in enumerate(rows):
            require(row, _FIELDS, f"report {i + 1}")
            if row["scenario_id"] not in place:
                raise MeasureError(f"a report is of scenario {row['scenario_id']!r}, which is not listed")
            own = names[row["scenario_id"]]
            unknown = [name for name in row["weights"] if name not in own]
            if unknown:
                raise MeasureError(f"scenario {row['scenario_id']!r} has no predictors {unknown}; it has {list(own)}")
            weights[i, : len(own)] = [number(row["weights"].get(name)) for name in own]
        shown = [row["shown"] for row in rows]
        return cls(
            scenario_ids=tuple(names),
            predictors=tuple(names.values()),
            scenario_index=np.array([place[row["scenario_id"]] for row in rows], dtype=np.int32),
            repeat=np.array([row["repeat"] for row in rows], dtype=np.int32),
            status=np.array([row["status"] for row in rows], dtype=np.str_),
            weights=weights,
            text=tuple(tuple(row["text"]) for row in rows),
            problems=tuple(tuple(row["problems"]) for row in rows),
            shown=tuple(t if t is None or isinstance(t, Trial) else Trial.model_validate(t) for t in shown),
            model=str(source["model"]),
            probe=str(source["probe"]),
            seed=int(source["seed"]),
            signed=bool(source["signed"]),
        )

    def _source(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _SOURCE}

    def to_rows(self) -> list[dict[str, Any]]:
        """One plain record per report, as `of_rows` takes them."""
        rows = []
        for i, c in enumerate(self.scenario_index.tolist()):
            given = zip(self.predictors[c], self.weights[i].tolist(), strict=False)
            shown = self.shown[i]
            rows.append(
                {
                    "scenario_id": self.scenario_ids[c],
                    "repeat": int(self.repeat[i]),
                    "status": str(self.status[i]),
                    "weights": {name: value for name, value in given if not math.isnan(value)},
                    "text": list(self.text[i]),
                    "problems": list(self.problems[i]),
                    "shown": None if shown is None else shown.model_dump(mode="json"),
                }
            )
        return rows

    def _flat_rows(self) -> list[dict[str, Any]]:
        flat = []
        for row, c in zip(self.to_rows(), self.scenario_index.tolist(), strict=True):
            same: dict[str, Any] = {name: json.dumps(row[name]) for name in ("text", "problems", "shown")}
            same |= {name: row[name] for name in ("scenario_id", "repeat", "status")}
            same |= {**self._source(), "signed": int(self.signed)}
            flat += [
                {**same, "predictor": name, "weight": row["weights"].get(name, math.nan)} for name in self.predictors[c]
            ]
        return flat

    @classmethod
    def _from_flat_rows(cls, flat: Sequence[Mapping[str, Any]]) -> ReportTable:
        rows: dict[tuple[str, int], dict[str, Any]] = {}
        predictors: dict[str, dict[str, None]] = {}
        sources: dict[tuple[str, str, int, int], None] = {}
        for at, entry in enumerate(flat, 1):
            try:
                name, repeat = str(entry["scenario_id"]), int(entry["repeat"])
                sources[(str(entry["model"]), str(entry["probe"]), int(entry["seed"]), int(entry["signed"]))] = None
                row = rows.setdefault(
                    (name, repeat),
                    {"scenario_id": name, "repeat": repeat, "status": str(entry["status"]), "weights": {}}
                    | {column: json.loads(entry[column]) for column in ("text", "problems", "shown")},
                )
                weight = number(entry["weight"])
            except (TypeError, ValueError) as error:
                raise MeasureError(f"row {at} is not a row of a report table: {error}") from None
            predictors.setdefault(name, {})[str(entry["predictor"])] = None
            if not math.isnan(weight):
                row["weights"][str(entry["predictor"])] = weight
        if len(sources) > 1:
            raise MeasureError(f"a report table is of one model, probe and seed, these rows are of {list(sources)}")
        model, probe, seed, signed = next(iter(sources), ("", "given", 0, 1))
        return cls.of_rows(
            list(rows.values()),
            {name: tuple(own) for name, own in predictors.items()},
            {"model": model, "probe": probe, "seed": seed, "signed": signed},
        )
