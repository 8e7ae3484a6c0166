"""Trials as tables: CSV and pandas, without loss."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from introspect.decision.scenario import DecisionScenario
from introspect.decision.trial import option_label
from introspect.decision.trial_block import TrialBlock
from introspect.decision.trial_io import Row, blocks_of, opened, rows_of
from introspect.errors import MissingExtraError, ScenarioError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_csv", "read_frame", "to_frame", "write_csv"]

_FIXED = ("scenario_id", "label", "flipped", "attribute_order")


def write_csv(path: str | Path, blocks: Sequence[TrialBlock]) -> None:
    """One row per trial: scenario_id, label, flipped, attribute_order, A.1, A.2, .., B.1, .. as texts."""
    axes = {s.id: s.attributes for block in blocks for s in block.scenarios}
    n_options, n_attributes = _widest(blocks)
    with opened(path, "w") as file:
        writer = csv.writer(file)
        writer.writerow([*_FIXED, *_value_columns(n_options, n_attributes)])
        for row in rows_of(blocks):
            cells = []
            for option in row.values:
                cells += [axis.format(v) for axis, v in zip(axes[row.scenario_id], option, strict=True)]
                cells += [""] * (n_attributes - len(option))
            cells += [""] * (n_options * n_attributes - len(cells))
            label = "" if row.label < 0 else row.label
            writer.writerow([row.scenario_id, label, str(row.flipped).lower(), _join(row.order), *cells])


def read_csv(path: str | Path, scenarios: Iterable[DecisionScenario]) -> list[TrialBlock]:
    """The inverse of `write_csv`. Missing label, flipped and attribute_order columns mean none, false and
    declared.

    Raises:
        ScenarioError: One line naming the file, the trial and what is wrong.
    """
    with opened(path, "r") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        return _table(header, reader, scenarios, str(path))


def to_frame(blocks: Sequence[TrialBlock]) -> pd.DataFrame:
    """The columns of `write_csv`, with numbers as numbers and levels as names."""
    pandas = _pandas()
    axes = {s.id: s.attributes for block in blocks for s in block.scenarios}
    n_options, n_attributes = _widest(blocks)
    names = _value_columns(n_options, n_attributes)
    columns: dict[str, list[Any]] = {name: [] for name in (*_FIXED, *names)}
    for row in rows_of(blocks):
        for name, value in zip(_FIXED, (row.scenario_id, row.label, row.flipped, _join(row.order or ())), strict=True):
            columns[name].append(value)
        for o in range(n_options):
            option = row.values[o] if o < len(row.values) else ()
            for k in range(n_attributes):
                cell: float | str = math.nan
                if k < len(option):
                    axis = axes[row.scenario_id][k]
                    cell = option[k] if axis.levels is None else axis.format(option[k])
                columns[names[o * n_attributes + k]].append(cell)
    frame: pd.DataFrame = pandas.DataFrame(columns, columns=[*_FIXED, *names])
    label = frame["label"].astype("Int8")
    frame["label"] = label.mask(label < 0)
    frame["flipped"] = frame["flipped"].astype(bool)
    return frame


def read_frame(frame: pd.DataFrame, scenarios: Iterable[DecisionScenario]) -> list[TrialBlock]:
    """The inverse of `to_frame`; also takes what pandas made of a CSV file.

    Raises:
        ScenarioError: One line naming the trial and what is wrong.
    """
    cells = frame.astype(object).where(frame.notna(), "")
    return _table(list(map(str, frame.columns)), cells.itertuples(index=False), scenarios, "data frame")


def _table(
    header: Sequence[str], rows: Iterable[Sequence[Any]], scenarios: Iterable[DecisionScenario], source: str
) -> list[TrialBlock]:
    known = list(scenarios)
    axes = {s.id: s.attributes for s in known}
    at = {name: k for k, name in enumerate(header)}
    if "scenario_id" not in at or "A.1" not in at or "B.1" not in at:
        raise ScenarioError(f"{source}: needs columns scenario_id, A.1, A.2, .., B.1, ..; got {', '.join(header)}")

    def row(number: int, cells: Sequence[Any]) -> Row:
        if len(cells) != len(header):
            raise ScenarioError(f"{source}: trial {number} has {len(cells)} cells, the header {len(header)}")
        get = {name: cells[k] for name, k in at.items() if cells[k] != ""}
        scenario_id = str(get.get("scenario_id", ""))
        if scenario_id not in axes:
            raise ScenarioError(f"{source}: trial {number}: unknown scenario {scenario_id!r} (known: {len(axes)})")
        options = []
        try:
            for letter in map(option_label, range(26)):
                if f"{letter}.1" not in get:
                    break
                names = (f"{letter}.{k}" for k in range(1, len(axes[scenario_id]) + 1))
                options.append([_cell(axis, get, name) for axis, name in zip(axes[scenario_id], names, strict=True)])
            order = str(get["attribute_order"]).split() if "attribute_order" in get else None
            return Row(
                scenario_id,
                options,
                _whole(get.get("label", -1)),
                _true(get.get("flipped", False)),
                None if order is None else [int(k) for k in order],
            )
        except ValueError as error:
            raise ScenarioError(f"{source}: trial {number} of scenario {scenario_id!r}: {error}") from None

    return blocks_of(known, (row(n, cells) for n, cells in enumerate(rows, 1)), source)


def _cell(axis: Any, get: dict[str, Any], name: str) -> float:
    if name not in get:
        raise ScenarioError(f"column {name} is empty")
    cell = get[name]
    if isinstance(cell, str):
        return float(axis.parse(cell))
    return float(cell) if axis.levels is None else float(axis.parse(axis.format(cell)))


def _whole(cell: Any) -> int:
    number = float(cell)
    if number != int(number):
        raise ValueError(f"label must be a whole number, got {cell!r}")
    return int(number)


def _true(cell: Any) -> bool:
    text = str(cell).strip().lower()
    if text not in ("true", "false", "1", "0"):
        raise ValueError(f"flipped must be true or false, got {cell!r}")
    return text in ("true", "1")


def _join(order: Sequence[int] | None) -> str:
    return " ".join(map(str, order or ()))


def _widest(blocks: Sequence[TrialBlock]) -> tuple[int, int]:
    return max((b.n_options for b in blocks), default=2), max((b.n_attributes for b in blocks), default=2)


def _value_columns(n_options: int, n_attributes: int) -> list[str]:
    return [f"{option_label(o)}.{k + 1}" for o in range(n_options) for k in range(n_attributes)]


def _pandas() -> Any:
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("pandas", "notebook") from None
    return pd
