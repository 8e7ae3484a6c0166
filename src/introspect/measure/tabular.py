"""Rows to and from CSV and JSON Lines, every value unchanged."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from introspect.errors import MeasureError, MissingExtraError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["frame_of", "number", "read_csv", "read_jsonl", "require", "rows_of", "write_csv", "write_jsonl"]

# Texts are kept even where a model sent half a surrogate pair, which plain UTF-8 cannot hold.
_ENCODING: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogatepass"}


def write_csv(path: Path | str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows; NaN and None are empty cells, floats have all their digits."""
    with Path(path).open("w", newline="", **_ENCODING) as file:
        # The end of line decides what is quoted: with a bare "\n" a lone "\r" in a text would end its row.
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(columns)
        writer.writerows([_cell(row[name]) for name in columns] for row in rows)


def read_csv(path: Path | str, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of texts.

    Raises:
        MeasureError: A column is missing.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with Path(path).open(newline="", **_ENCODING) as file:
        reader = csv.DictReader(file)
        absent = [name for name in columns if name not in (reader.fieldnames or ())]
        if absent:
            raise MeasureError(f"{path} lacks the columns {absent}; it has {list(reader.fieldnames or ())}")
        return list(reader)


def write_jsonl(path: Path | str, kind: str, header: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a header line that says what the file is, then one row a line."""
    with Path(path).open("w", newline="\n", **_ENCODING) as file:
        for row in ({"kind": kind, **header}, *rows):
            # Escaped, so that no text can break a line.
            file.write(json.dumps(row, allow_nan=False) + "\n")


def read_jsonl(path: Path | str, kind: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Header and rows.

    Raises:
        MeasureError: The file is something else, or a line of it is broken.
    """
    rows = []
    with Path(path).open(newline="\n", **_ENCODING) as file:
        for number_, line in enumerate(file, 1):
            try:
                row = json.loads(line)
            except ValueError:
                raise MeasureError(f"{path}: line {number_} is not JSON") from None
            if not isinstance(row, dict):
                raise MeasureError(f"{path}: line {number_} is not a JSON object")
            rows.append(row)
    if not rows or rows[0].get("kind") != kind:
        found = rows[0].get("kind") if rows else None
        raise MeasureError(f"{path} does not hold a {kind} file (its first line says {found!r})")
    return rows[0], rows[1:]


def frame_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """A data frame of rows. Columns with text hold objects: a raw reply may contain half a surrogate pair, which
    Arrow's strings refuse.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("pandas", "notebook") from None

    def column(values: list[Any]) -> Any:
        return pd.Series(values, dtype=object if any(isinstance(v, str) for v in values) else None)

    return pd.DataFrame({name: column([row[name] for row in rows]) for name in columns}, columns=list(columns))


def rows_of(frame: pd.DataFrame, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of a data frame, the inverse of `frame_of`; a missing value is an empty text, as in a CSV file.

    Raises:
        MeasureError: A column is missing.
    """
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        raise MeasureError(f"the frame lacks the columns {absent}; it has {list(frame.columns)}")
    plain = frame.astype(object).where(frame.notna(), "")
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]


def require(row: Mapping[str, Any], names: Iterable[str], what: str) -> None:
    """Refuse a row that lacks a field.

    Raises:
        MeasureError: Naming the fields.
    """
    absent = [name for name in names if name not in row]
    if absent:
        raise MeasureError(f"{what} lacks {', '.join(absent)}; it has {', '.join(row)}")


def number(value: Any) -> float:
    """A float of a cell; NaN of an empty one.

    Example:
        >>> number(""), number("0.5")
        (nan, 0.5)
    """
    return math.nan if value is None or value == "" else float(value)


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(float(value)) if isinstance(value, float) else value
