"""Tables of our own as tidy rows and CSV files."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from introspect.analysis.trial_rows import ALL
from introspect.decision.scenario import MAX_ATTRIBUTES, DecisionScenario
from introspect.decision.trial_block import TrialBlock
from introspect.errors import MeasureError
from introspect.measure.choice_table import ChoiceTable
from introspect.measure.report_table import ReportTable

__all__ = ["to_tidy", "write_tidy"]

_CHOICES = (
    "arm", "scenario", "trial", "attribute", "low", "high", "value_a", "value_b", "choice", "outcome", "logp_a",
    "logp_b", "order",
)  # fmt: skip
_REPORTS = ("arm", "scenario", "sample", "attribute", "weight", "outcome")
_TARGETS = ("arm", "scenario", "attribute", "weight")

Weights = Mapping[str, Any]


def to_tidy(table: ChoiceTable | ReportTable, arm: str = ALL) -> list[dict[str, str]]:
    """A table's tidy rows, ready for a CSV file or a data frame.

    Choices have one row per attribute of a trial, with the option shown first as A; reports one row per weight.
    Prompts, replies and labels are not part of the format, for which there is `to_jsonl`. An attribute on a log
    scale is written as natural logarithms, a categorical one as a 0/1 attribute per level but the first, called
    "name: level", so that the same weights come out of a fit.

    Args:
        table: Choices between two options, or reports with signs.
        arm: Name that the rows get.

    Raises:
        MeasureError: Trials of more than two options, more than ten weights in a scenario, or reports without
            signs: the format cannot hold them.

    Example:
        >>> rows = to_tidy(ReportTable.from_weights({"flat": {"rent": -80.0, "size": 20.0}}))
        >>> rows[0]
        {'arm': 'all', 'scenario': 'flat', 'sample': '1', 'attribute': 'rent', 'weight': '-80', 'outcome': 'answered'}
    """
    return list(_choice_rows(table, arm) if isinstance(table, ChoiceTable) else _report_rows(table, arm))


def write_tidy(
    folder: Path | str,
    choices: ChoiceTable | Mapping[str, ChoiceTable],
    reports: ReportTable | Mapping[str, ReportTable] | None = None,
    targets: Weights | None = None,
) -> dict[str, Path]:
    """Write choices.csv, and where given reports.csv and targets.csv, for `analyse` or any other program.

    Args:
        folder: Made where it does not exist.
        choices: One table, or tables by arm.
        reports: One table, or tables by arm.
        targets: scenario_id -> {predictor: weight}, or preferences; they hold for every arm.

    Returns:
        The files written, by name ("choices", "reports", "targets").

    Raises:
        MeasureError: As `to_tidy`, or a file cannot be written.

    Example:
        >>> from introspect.decision import Attribute, DecisionScenario, TrialGenerator
        >>> axes = [Attribute(name=n, low=0, high=10) for n in ("p", "q")]
        >>> k = DecisionScenario(id="k", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        >>> table = ChoiceTable.from_choices(TrialGenerator().trials([k], 4, rng=0), [0, 1, 1, -1])
        >>> import tempfile
        >>> from introspect.analysis import read_choices
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     read_choices(write_tidy(folder, table)["choices"])["all"].chosen.tolist()
        [0, 1, 1, -1]
    """
    tables: dict[str, tuple[tuple[str, ...], list[dict[str, str]]]] = {}
    own = {ALL: choices} if isinstance(choices, ChoiceTable) else choices
    tables["choices"] = _CHOICES, [row for arm, one in own.items() for row in to_tidy(one, arm)]
    if reports is not None:
        said = {ALL: reports} if isinstance(reports, ReportTable) else reports
        tables["reports"] = _REPORTS, [row for arm, one in said.items() for row in to_tidy(one, arm)]
    if targets is not None:
        tables["targets"] = _TARGETS, list(_target_rows(targets))
    place = Path(folder)
    paths = {}
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name, (columns, rows) in tables.items():
            # Columns that say nothing are left out, so that a plain table stays plain.
            empty = {c for c in ("arm", "outcome", "logp_a", "logp_b", "order") if _says_nothing(rows, c)}
            paths[name] = place / f"{name}.csv"
            with paths[name].open("w", encoding="utf-8", newline="") as file:
                kept = [column for column in columns if column not in empty]
                writer = csv.DictWriter(file, kept, extrasaction="ignore", lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
    except OSError as error:
        raise MeasureError(f"{error.filename or place} cannot be written: {error.strerror}") from None
    return paths


def _says_nothing(rows: list[dict[str, str]], column: str) -> bool:
    plain = {"arm": ALL, "outcome": "answered"}.get(column, "")
    return all(row.get(column, plain) == plain for row in rows)


def _choice_rows(table: ChoiceTable, arm: str) -> Iterator[dict[str, str]]:
    seen: dict[str, int] = {}
    start = 0
    for block in table.trials.blocks:
        if block.n_options != 2:
            raise MeasureError(f"the tidy format holds trials of two options, these have {block.n_options}")
        axes = [_axes(scenario) for scenario in block.scenarios]
        columns = _columns(block)
        listed = np.argsort(block.order, axis=1)
        plain = (block.order == np.arange(block.n_attributes)).all()
        for i, c in enumerate(block.scenario_index.tolist()):
            scenario, at = block.scenarios[c], start + i
            seen[scenario.id] = seen.get(scenario.id, 0) + 1
            same = {
                "arm": arm,
                "scenario": scenario.id,
                "trial": str(seen[scenario.id]),
                "choice": "AB"[table.chosen[at]] if table.chosen[at] >= 0 else "",
                "outcome": str(table.status[at]),
                "logp_a": _text(table.logprob[at, 0]),
                "logp_b": _text(table.logprob[at, 1]),
            }
            for k, (attribute, name, low, high) in enumerate(axes[c]):
                yield same | {
                    "attribute": name,
                    "low": low,
                    "high": high,
                    "value_a": _text(columns[i, 0, k]),
                    "value_b": _text(columns[i, 1, k]),
                    "order": "" if plain else _listing(axes[c], listed[i], k, attribute),
                }
        start += block.n


def _listing(axes: list[tuple[int, str, str, str]], listed: Any, k: int, attribute: int) -> str:
    """Place of a column in the prompt's list, from 1; levels of one attribute stand side by side."""
    before = sum(1 for j, (other, *_) in enumerate(axes) if (listed[other], j) < (listed[attribute], k))
    return str(before + 1)


def _axes(scenario: DecisionScenario) -> list[tuple[int, str, str, str]]:
    """(attribute, name, low, high) of every column that a scenario's trials have."""
    found = []
    for number, attribute in enumerate(scenario.attributes):
        if attribute.kind == "categorical":
            found += [(number, _tidy_name(name), "0", "1") for name in attribute.predictors]
        else:
            ends = (attribute.low, attribute.high)
            low, high = (math.log(end) if attribute.scale == "log" else end for end in ends)
            found.append((number, attribute.name, _text(low), _text(high)))
    names = [name for _, name, _, _ in found]
    if len(set(names)) < len(names):
        raise MeasureError(f"scenario {scenario.id!r} has attributes that the tidy format cannot tell apart: {names}")
    if len(names) > MAX_ATTRIBUTES:
        raise MeasureError(
            f"scenario {scenario.id!r} has {len(names)} weights; the tidy format holds up to {MAX_ATTRIBUTES}"
        )
    return found


def _columns(block: TrialBlock) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Values as the format has them, [n, 2, predictors]."""
    if all(a.kind != "categorical" and a.scale == "linear" for s in block.scenarios for a in s.attributes):
        return block.values
    out = np.empty((block.n, 2, block.n_predictors))
    for c, scenario in enumerate(block.scenarios):
        rows = block.scenario_index == c
        values, k = block.values[rows], 0
        for number, attribute in enumerate(scenario.attributes):
            column = values[..., number]
            if attribute.kind == "categorical":
                for level in range(1, len(attribute.levels or ())):
                    out[rows, :, k] = column == level
                    k += 1
                continue
            out[rows, :, k] = np.log(column) if attribute.scale == "log" else column
            k += 1
    return out


def _report_rows(table: ReportTable, arm: str) -> Iterator[dict[str, str]]:
    if not table.signed:
        raise MeasureError("the tidy format holds weights with signs; these reports have none")
    for i, c in enumerate(table.scenario_index.tolist()):
        status = str(table.status[i])
        for k, name in enumerate(table.predictors[c]):
            yield {
                "arm": arm,
                "scenario": table.scenario_ids[c],
                "sample": str(int(table.repeat[i]) + 1),
                "attribute": _tidy_name(name),
                "weight": _text(table.weights[i, k]),
                "outcome": status,
            }


def _target_rows(targets: Weights) -> Iterator[dict[str, str]]:
    for scenario, entry in targets.items():
        own = getattr(entry, "weights", entry)
        if not isinstance(own, Mapping):
            raise MeasureError(f"scenario {scenario!r}: expected {{predictor: weight}}, got {type(entry).__name__}")
        for name, weight in own.items():
            yield {"arm": ALL, "scenario": scenario, "attribute": _tidy_name(name), "weight": _text(weight)}


def _tidy_name(predictor: str) -> str:
    return predictor.replace("=", ": ")


def _text(value: Any) -> str:
    number = float(value)
    return "" if math.isnan(number) else repr(number).removesuffix(".0")
