"""Trials to and from single records, JSON Lines and plain arrays, without loss."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from introspect.decision.scenario import DecisionScenario
from introspect.decision.scenario_set import ScenarioSet
from introspect.decision.trial import Trial
from introspect.decision.trial_block import TrialBlock
from introspect.errors import ScenarioError

__all__ = [
    "Row",
    "blocks_of",
    "from_columns",
    "opened",
    "read_jsonl",
    "row_of",
    "rows_of",
    "to_columns",
    "write_jsonl",
]

_FORMAT = "introspect-trials"
_VERSION = 1
_ARRAYS = ("scenario_index", "values", "label", "flipped", "order")


class Row(NamedTuple):
    """One trial, unchecked."""

    scenario_id: str
    values: Sequence[Sequence[float]]
    label: int
    flipped: bool
    order: Sequence[int] | None


def rows_of(blocks: Iterable[TrialBlock]) -> Iterator[Row]:
    """The trials of these blocks, in order."""
    for block in blocks:
        ids = [s.id for s in block.scenarios]
        columns = (block.scenario_index, block.values, block.label, block.flipped, block.order)
        for k, values, label, flipped, order in zip(*(c.tolist() for c in columns), strict=True):
            yield Row(ids[k], values, label, flipped, order)


def row_of(trial: Trial) -> Row:
    """A single record as a row."""
    label = -1 if trial.label is None else trial.label
    return Row(trial.scenario_id, trial.values, label, trial.flipped, trial.attribute_order)


def blocks_of(scenarios: Iterable[DecisionScenario], rows: Iterable[Row], source: str = "trials") -> list[TrialBlock]:
    """Blocks from rows, grouped by shape.

    Raises:
        ScenarioError: A row does not fit its scenario: one line naming the source, the row and the scenario.
    """
    known = {s.id: (s, s.n_attributes, s.n_predictors) for s in scenarios}
    groups: dict[tuple[int, int, int], list[Row]] = {}
    for number, row in enumerate(rows, 1):
        if row.scenario_id not in known:
            raise ScenarioError(f"{source}: trial {number}: unknown scenario {row.scenario_id!r} (known: {len(known)})")
        _, n_attributes, n_predictors = known[row.scenario_id]
        problem = _misfit(row, n_attributes)
        if problem:
            raise ScenarioError(f"{source}: trial {number} of scenario {row.scenario_id!r}: {problem}")
        groups.setdefault((n_attributes, n_predictors, len(row.values)), []).append(row)
    blocks = []
    for (n_attributes, _, _), group in groups.items():
        position = {name: k for k, name in enumerate(dict.fromkeys(row.scenario_id for row in group))}
        identity = list(range(n_attributes))
        block = TrialBlock.of(
            [known[name][0] for name in position],
            [position[row.scenario_id] for row in group],
            [row.values for row in group],
            [row.label for row in group],
            [row.flipped for row in group],
            [identity if row.order is None else row.order for row in group],
        )
        try:
            blocks.append(block.check_values())
        except ScenarioError as error:
            raise ScenarioError(f"{source}: {error}") from None
    return blocks


def _misfit(row: Row, n_attributes: int) -> str | None:
    if not 2 <= len(row.values) <= 26:
        return f"a trial must have 2 to 26 options, got {len(row.values)}"
    if any(len(option) != n_attributes for option in row.values):
        return f"every option must have {n_attributes} values, got {[len(option) for option in row.values]}"
    if not -1 <= row.label < len(row.values):
        return f"label must be an option from 0 to {len(row.values) - 1}, or none, got {row.label}"
    if row.order is not None and sorted(row.order) != list(range(n_attributes)):
        return f"attribute_order must list 0 to {n_attributes - 1} once each, got {list(row.order)}"
    return None


def write_jsonl(path: str | Path, scenarios: Iterable[DecisionScenario], blocks: Iterable[TrialBlock]) -> None:
    """A header line with the scenarios, then one line per trial."""
    head = {"format": _FORMAT, "version": _VERSION, "scenarios": json.loads(ScenarioSet(scenarios).to_json())}
    with opened(path, "w") as file:
        file.write(json.dumps(head, ensure_ascii=False) + "\n")
        for row in rows_of(blocks):
            line = row._asdict()
            line["label"] = None if row.label < 0 else row.label
            line["attribute_order"] = line.pop("order")
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")


def read_jsonl(path: str | Path) -> list[TrialBlock]:
    """The inverse of `write_jsonl`.

    Raises:
        ScenarioError: One line naming the file, the line and what is wrong.
    """
    with opened(path, "r") as file:
        lines = ((number, line) for number, line in enumerate(file, 1) if line.strip())
        head = _record(path, *next(lines, (1, "null")))
        if head.get("format") != _FORMAT or head.get("version") != _VERSION:
            raise ScenarioError(
                f"{path}: the first line must be a header of format {_FORMAT!r}, version {_VERSION}; got "
                f"format {head.get('format')!r}, version {head.get('version')!r}"
            )
        scenarios = ScenarioSet.from_json(json.dumps(head.get("scenarios")), str(path))
        return blocks_of(scenarios, (_json_row(path, n, line) for n, line in lines), str(path))


def _record(path: str | Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ScenarioError(f"{path}: line {number} is not readable as JSON: {error}") from None
    if not isinstance(record, dict):
        raise ScenarioError(f"{path}: line {number} must be a JSON object")
    return record


def _json_row(path: str | Path, number: int, line: str) -> Row:
    try:
        return row_of(Trial.model_validate(_record(path, number, line)))
    except ScenarioError as error:
        text = str(error)
        raise ScenarioError(text if text.startswith(f"{path}:") else f"{path}: line {number}: {text}") from None


def to_columns(blocks: Sequence[TrialBlock]) -> dict[str, NDArray[Any]]:
    """Every block's columns as flat named arrays, its scenarios as one JSON text."""
    columns: dict[str, NDArray[Any]] = {}
    for number, block in enumerate(blocks):
        columns[f"{number}.scenarios"] = np.array(ScenarioSet(block.scenarios).to_json())
        for name in _ARRAYS:
            columns[f"{number}.{name}"] = getattr(block, name)
    return columns


def from_columns(columns: Mapping[str, NDArray[Any]]) -> list[TrialBlock]:
    """The inverse of `to_columns`.

    Raises:
        ScenarioError: A column is missing, unknown or does not fit the others.
    """
    n = sum(name.endswith(".scenarios") for name in columns)
    wanted = [f"{number}.{name}" for number in range(n) for name in ("scenarios", *_ARRAYS)]
    if set(wanted) != set(columns):
        raise ScenarioError(f"trial columns must be {', '.join(wanted) or 'none'}; got {', '.join(columns)}")
    blocks = []
    for number in range(n):
        scenarios = ScenarioSet.from_json(str(columns[f"{number}.scenarios"]), "trial columns")
        block = TrialBlock.of(scenarios, **{name: columns[f"{number}.{name}"] for name in _ARRAYS})
        blocks.append(block.check_values())
    return blocks


def opened(path: str | Path, mode: str) -> Any:
    """A text file, or a ScenarioError that names it."""
    try:
        return Path(path).open(mode, encoding="utf-8", newline="")
    except OSError as error:
        verb = "written" if mode == "w" else "read"
        raise ScenarioError(f"{path}: cannot be {verb}: {error.strerror}") from None
