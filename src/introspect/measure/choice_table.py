"""What a model chose, trial by trial, with everything it said."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from introspect._notebook import html_lines, short_repr
from introspect.decision.scenario import DecisionScenario
from introspect.decision.trial import Trial
from introspect.decision.trial_set import TrialSet
from introspect.errors import MeasureError
from introspect.measure.tabular import frame_of, number, read_csv, read_jsonl, require, rows_of, write_csv, write_jsonl

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ChoiceTable"]

Floats = NDArray[np.float64]

_COLUMNS = (
    "scenario_id", "values", "label", "flipped", "attribute_order", "chosen", "status", "text", "logprob",
    "mass_outside", "logprob_floor", "model", "probe",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class ChoiceTable:
    """A model's choices over a set of trials; row i belongs to trial i.

    Attributes:
        trials: What was shown.
        model: Key of the model that chose.
        probe: Id of the probe and style that asked.
        chosen: Option chosen, 0 for the first shown, -1 for none; int8 [n]. A refusal is never a choice.
        status: What became of each question, [n] (see `introspect.decision.reading`).
        text: Raw replies, n texts.
        logprob: Natural-log probability of each option, [n, most options of any trial]; NaN where not given.
        mass_outside: Probability of anything but an option's label, [n]; NaN where not given.
        logprob_floor: Log-probability that options absent from the list lie below, [n]; NaN where not given.

    Raises:
        MeasureError: The columns do not fit together.
    """

    trials: TrialSet
    model: str
    probe: str
    chosen: NDArray[np.int8]
    status: NDArray[np.str_]
    text: tuple[str, ...]
    logprob: Floats
    mass_outside: Floats
    logprob_floor: Floats

    def __post_init__(self) -> None:
        n = len(self.trials)
        lengths = {
            name: len(getattr(self, name))
            for name in ("chosen", "status", "text", "logprob", "mass_outside", "logprob_floor")
        }
        wrong = {name: length for name, length in lengths.items() if length != n}
        if wrong:
            raise MeasureError(f"{n} trials need {n} rows in every column, got {wrong}")
        answered = self.status == "answered"
        if ((self.chosen >= 0) != answered).any():
            raise MeasureError('a trial has a choice exactly where its status is "answered"')
        if (self.chosen >= _n_options(self.trials)).any():
            raise MeasureError("a choice is not among its trial's options (0 is the first shown, -1 is none)")

    @classmethod
    def from_choices(cls, trials: TrialSet, chosen: ArrayLike, model: str = "", probe: str = "given") -> ChoiceTable:
        """A table of choices that come from anywhere (people, a log file), -1 for none.

        Example:
            >>> ChoiceTable.from_choices(TrialSet(), []).statuses()
            {}
        """
        picks = np.asarray(chosen, dtype=np.int8).reshape(-1)
        n = len(picks)
        empty = np.full(n, np.nan)
        width = int(_n_options(trials).max(initial=0))
        status = np.where(picks >= 0, "answered", "missing")
        return cls(trials, model, probe, picks, status, ("",) * n, np.full((n, width), np.nan), empty, empty)

    def __len__(self) -> int:
        return len(self.chosen)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ChoiceTable):
            return NotImplemented
        same = (self.model, self.probe, self.text) == (other.model, other.probe, other.text)
        columns = ("chosen", "status", "logprob", "mass_outside", "logprob_floor")
        return (
            same
            and self.trials == other.trials
            and all(_equal(getattr(self, name), getattr(other, name)) for name in columns)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Where a choice was made, [n]."""
        made: NDArray[np.bool_] = self.chosen >= 0
        return made

    def statuses(self) -> dict[str, int]:
        """How many trials ended in each status, most frequent first."""
        return dict(Counter(self.status.tolist()).most_common())

    def agreement(self, table: ChoiceTable | None = None) -> float:
        """Share of valid choices that equal the trials' labels, or another table's choices; NaN where there
        are none.

        With the instilled preference's labels this is the choice accuracy.

        Args:
            table: Choices of the same trials to compare with, instead of the labels.

        Raises:
            MeasureError: The other table is of other trials.
        """
        if table is not None and len(table) != len(self):
            raise MeasureError(f"the tables have {len(self)} and {len(table)} trials; agreement needs the same trials")
        target = self.trials.labels if table is None else table.chosen
        both = self.valid & (target >= 0)
        return float((self.chosen[both] == target[both]).mean()) if both.any() else math.nan

    def labelled(self) -> TrialSet:
        """The trials with the model's choices as labels."""
        return self.trials.with_labels(self.chosen)

    def take(self, which: ArrayLike) -> ChoiceTable:
        """Some of the rows, by mask or by increasing indices."""
        rows = np.arange(len(self))[np.asarray(which)]
        return replace(
            self,
            trials=self.trials.take(rows),
            text=tuple(self.text[i] for i in rows),
            **{
                name: getattr(self, name)[rows]
                for name in ("chosen", "status", "logprob", "mass_outside", "logprob_floor")
            },
        )

    @classmethod
    def concat(cls, tables: Sequence[ChoiceTable]) -> ChoiceTable:
        """All rows of some tables of one model and one probe, grouped by shape as `TrialSet.concat` does.

        Raises:
            MeasureError: There is no table, or they are of several models or probes.
        """
        sources = {(table.model, table.probe) for table in tables}
        if len(sources) != 1:
            raise MeasureError(f"one model and one probe can be put together, these tables have {sorted(sources)}")
        groups: dict[tuple[int, int, int], list[NDArray[np.intp]]] = {}
        start = 0
        for table in tables:
            for block in table.trials.blocks:
                groups.setdefault(block.shape, []).append(np.arange(start, start + block.n))
                start += block.n
        order = np.concatenate([np.empty(0, dtype=np.intp), *(rows for part in groups.values() for rows in part)])
        width = max(table.logprob.shape[1] for table in tables)
        logprob = [np.pad(t.logprob, ((0, 0), (0, width - t.logprob.shape[1])), constant_values=np.nan) for t in tables]
        texts = [text for table in tables for text in table.text]
        model, probe = sources.pop()
        return cls(
            trials=TrialSet.concat(table.trials for table in tables),
            model=model,
            probe=probe,
            text=tuple(texts[i] for i in order),
            logprob=np.concatenate(logprob)[order],
            **{
                name: np.concatenate([getattr(table, name) for table in tables])[order]
                for name in ("chosen", "status", "mass_outside", "logprob_floor")
            },
        )

    def for_scenario(self, scenario_id: str) -> ChoiceTable:
        """The rows of one scenario."""
        return self.take(self.trials.scenario_ids == scenario_id)

    def sentences(self) -> list[str]:
        """The table in words."""
        n = len(self)
        if not n:
            return ["No trial was asked."]
        lines = [f"{int(self.valid.sum())} of {n} trials were answered with a choice."]
        lines += [f"{count} {status}." for status, count in self.statuses().items() if status != "answered"]
        first = (self.chosen == 0)[self.valid]
        if first.size:
            lines.append(f"The first option was chosen in {first.mean():.0%} of them.")
        agreement = self.agreement()
        if math.isfinite(agreement):
            lines.append(f"Choices agree with the labels in {agreement:.1%} of them.")
        return lines

    def to_jsonl(self, path: Path | str) -> None:
        """Write JSON Lines: a header with model, probe and scenarios, then one trial a line."""
        header = {
            "model": self.model,
            "probe": self.probe,
            "scenarios": [scenario.model_dump(mode="json") for scenario in self.trials.scenarios],
        }
        write_jsonl(path, "choice_table", header, self._rows())

    @classmethod
    def from_jsonl(cls, path: Path | str) -> ChoiceTable:
        """Read what `to_jsonl` wrote, every value unchanged.

        Raises:
            MeasureError: The file holds something else.
        """
        header, rows = read_jsonl(path, "choice_table")
        require(header, ("model", "probe", "scenarios"), f"the first line of {path}")
        scenarios = [DecisionScenario.model_validate(entry) for entry in header["scenarios"]]
        return cls._from_rows(rows, scenarios, header["model"], header["probe"])

    def to_csv(self, path: Path | str) -> None:
        """Write one row per trial; lists are JSON. The scenarios are not part of it."""
        write_csv(path, self._flat_rows(), _COLUMNS)

    @classmethod
    def from_csv(cls, path: Path | str, scenarios: Iterable[DecisionScenario]) -> ChoiceTable:
        """Read what `to_csv` wrote.

        Raises:
            MeasureError: A column is missing.
        """
        return cls._from_flat_rows(read_csv(path, _COLUMNS), scenarios)

    def to_frame(self) -> pd.DataFrame:
        """The same as `to_pandas`: every table of the library has a `to_frame`."""
        return self.to_pandas()

    def __repr__(self) -> str:
        return short_repr(self, f"{len(self)} choices in {len(self.trials.scenarios)} scenarios, model {self.model!r}")

    def _repr_html_(self) -> str:
        return html_lines(f"Choices ({len(self)} rows)", self.sentences())

    def to_pandas(self) -> pd.DataFrame:
        """One row per trial, with the columns of the CSV."""
        return frame_of(self._flat_rows(), _COLUMNS)

    @classmethod
    def from_pandas(cls, frame: pd.DataFrame, scenarios: Iterable[DecisionScenario]) -> ChoiceTable:
        """The inverse of `to_pandas`; also reads a frame that pandas read from the CSV.

        Raises:
            MeasureError: A column is missing.
        """
        return cls._from_flat_rows(rows_of(frame, _COLUMNS), scenarios)

    def _rows(self) -> list[dict[str, Any]]:
        rows = []
        for i, (_, trial) in enumerate(self.trials):
            row = {
                **trial.model_dump(mode="json"),
                "chosen": int(self.chosen[i]),
                "status": str(self.status[i]),
                "text": self.text[i],
                "logprob": [_or_none(value) for value in self.logprob[i].tolist()],
                "mass_outside": _or_none(float(self.mass_outside[i])),
                "logprob_floor": _or_none(float(self.logprob_floor[i])),
            }
            rows.append(row)
        return rows

    def _flat_rows(self) -> list[dict[str, Any]]:
        rows = self._rows()
        for row in rows:
            for name in ("values", "attribute_order", "logprob"):
                row[name] = json.dumps(row[name])
            row["flipped"] = int(row["flipped"])
            row["label"] = -1 if row["label"] is None else row["label"]
            row["model"], row["probe"] = self.model, self.probe
        return rows

    @classmethod
    def _from_flat_rows(cls, flat: Sequence[Mapping[str, Any]], scenarios: Iterable[DecisionScenario]) -> ChoiceTable:
        rows: list[dict[str, Any]] = []
        for entry in flat:
            row = dict(entry)
            try:
                for name in ("values", "attribute_order", "logprob"):
                    row[name] = json.loads(row[name])
                row["label"] = None if int(row["label"]) < 0 else int(row["label"])
                row["flipped"] = bool(int(row["flipped"]))
            except (TypeError, ValueError) as error:
                raise MeasureError(f"row {len(rows) + 1} is not a row of a choice table: {error}") from None
            rows.append(row)
        sources = {(str(row["model"]), str(row["probe"])) for row in rows} or {("", "given")}
        if len(sources) > 1:
            raise MeasureError(f"a choice table is of one model and one probe, these rows are of {sorted(sources)}")
        return cls._from_rows(rows, scenarios, *sources.pop())

    @classmethod
    def _from_rows(
        cls, rows: Sequence[Mapping[str, Any]], scenarios: Iterable[DecisionScenario], model: str, probe: str
    ) -> ChoiceTable:
        for at, row in enumerate(rows, 1):
            require(row, _COLUMNS[:-2], f"choice {at}")
        fields = ("scenario_id", "values", "label", "flipped", "attribute_order")
        singles = [Trial.model_validate({name: row[name] for name in fields}) for row in rows]
        trials = TrialSet.from_trials(scenarios, singles)
        # A set groups its trials by shape; rows that come in another order must follow their trial.
        order = _grouped_order(trials, singles)
        width = int(_n_options(trials).max(initial=0))
        logprob = np.full((len(rows), width), np.nan)
        for at, i in enumerate(order):
            values = rows[i]["logprob"]
            logprob[at, : len(values)] = [number(value) for value in values]
        return cls(
            trials=trials,
            model=model,
            probe=probe,
            chosen=np.array([int(rows[i]["chosen"]) for i in order], dtype=np.int8),
            status=np.array([str(rows[i]["status"]) for i in order], dtype=np.str_),
            text=tuple(str(rows[i]["text"]) for i in order),
            logprob=logprob,
            mass_outside=np.array([number(rows[i]["mass_outside"]) for i in order], dtype=float),
            logprob_floor=np.array([number(rows[i]["logprob_floor"]) for i in order], dtype=float),
        )


def _n_options(trials: TrialSet) -> NDArray[np.int64]:
    sizes = [np.full(block.n, block.n_options) for block in trials.blocks]
    return np.concatenate([np.empty(0, dtype=np.int64), *sizes]).astype(np.int64)


def _grouped_order(trials: TrialSet, singles: Sequence[Trial]) -> list[int]:
    shapes = {s.id: (s.n_attributes, s.n_predictors) for s in trials.scenarios}
    groups: dict[tuple[int, int, int], list[int]] = {}
    for i, trial in enumerate(singles):
        groups.setdefault((*shapes[trial.scenario_id], trial.n_options), []).append(i)
    return [i for block in trials.blocks for i in groups[block.shape]]


def _equal(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return np.array_equal(a, b, equal_nan=True) if a.dtype.kind == "f" else np.array_equal(a, b)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
