"""A tidy CSV file as columns of text, with errors that name file, row and column."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from introspect.errors import MeasureError

__all__ = ["Sheet", "codes_of", "ignored_columns"]

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

_DELIMITERS = ",;\t"
_PIECE = 4096
_LARGEST = 1e100  # squares of what is larger would leave the range of floats


@dataclass(frozen=True)
class Sheet:
    """The cells of a CSV file, column by column, stripped of surrounding spaces.

    Attributes:
        path: Name of the file, as messages show it.
        columns: Cells by column name (lower case).
        rows: Row of each record in the file; the header is row 1, and empty rows count.
    """

    path: str
    columns: dict[str, list[str]]
    rows: NDArray[np.int64]

    @classmethod
    def read(cls, path: Path | str, required: Sequence[str], optional: Sequence[str]) -> Sheet:
        """Read UTF-8 text with a header line, separated by commas, semicolons or tabs.

        Args:
            path: The file.
            required: Columns that must be there, in any order.
            optional: Columns that may be there.

        Raises:
            MeasureError: One line naming the file and what is wrong with it.
        """
        name = str(path)
        text = _text(Path(path), name)
        delimiter = _delimiter(text)
        pieces = _pieces(text, delimiter, name)
        header = _header(next(pieces, []))
        if not header:
            raise MeasureError(f"{name}: is empty; expected a header line with the columns {', '.join(required)}")
        absent = [column for column in required if column not in header]
        if absent:
            raise MeasureError(
                f"{name}: row 1: column{'s' * (len(absent) > 1)} {', '.join(absent)} missing; "
                f"needed are {', '.join(required)}; found {_shown(', '.join(header))}"
            )
        twice = sorted({column for column in header if column and header.count(column) > 1})
        if twice:
            raise MeasureError(f"{name}: row 1: column {twice[0]} is there more than once")
        known = {*required, *optional}
        kept = [(k, column) for k, column in enumerate(header) if column in known]
        columns: dict[str, list[str]] = {column: [] for _, column in kept}
        numbers: list[int] = []
        at = 2
        for piece in pieces:
            rows, where = piece, range(at, at + len(piece))
            at += len(piece)
            if {*map(len, piece)} != {len(header)} or not all(row[0].strip() for row in piece):
                fitted = [
                    _fitted(row, len(header), delimiter, f"{name}: row {k}")
                    for k, row in zip(where, piece, strict=True)
                ]
                numbers += [k for k, row in zip(where, fitted, strict=True) if row]
                rows = [row for row in fitted if row]
            else:
                numbers += where
            cells = list(zip(*rows, strict=True))
            for k, column in kept:
                columns[column].extend(map(str.strip, cells[k] if cells else ()))
        if not numbers:
            raise MeasureError(f"{name}: has a header line and no rows")
        return cls(name, columns, np.array(numbers, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, column: str) -> bool:
        return column in self.columns

    def error(self, record: int, column: str, problem: str) -> MeasureError:
        """An error that names the place of a record's cell."""
        return MeasureError(f"{self.path}: row {self.rows[record]}, column {column}: {problem}")

    def texts(self, column: str) -> list[str]:
        """Cells that must not be empty.

        Raises:
            MeasureError: One is.
        """
        cells = self.columns[column]
        if "" in cells:
            raise self.error(cells.index(""), column, "is empty")
        return cells

    def numbers(self, column: str, empty: bool = False) -> Floats:
        """Finite numbers, [n].

        Args:
            column: Name of the column.
            empty: Whether a cell may be empty, which makes it NaN.

        Raises:
            MeasureError: A cell is no finite number.
        """
        cells = self.columns[column]
        try:
            # The whole column at once; only where that fails, the culprit is looked for.
            values = np.array(list(map(float, [cell or "nan" for cell in cells] if empty else cells)))
            given = values[np.array([*map(bool, cells)])] if empty else values
            sound = bool((np.abs(given) <= _LARGEST).all()) and "_" not in "".join(cells)
        except ValueError:
            sound, values = False, np.empty(0)
        if not sound:
            for record, cell in enumerate(cells):
                if not (empty and not cell):
                    self.number(record, column)
        return values

    def number(self, record: int, column: str) -> float:
        """One finite number.

        Raises:
            MeasureError: The cell holds something else.
        """
        cell = self.columns[column][record]
        try:
            value = float(cell)
        except ValueError:
            value = np.nan
        if not abs(value) <= _LARGEST or "_" in cell:
            hint = ""
            if "," in cell and cell.count(",") == 1:
                hint = "; write decimals with a point"
            got = "an empty cell" if not cell else repr(_shown(cell))
            raise self.error(record, column, f"expected a finite number, got {got}{hint}")
        return value


def codes_of(texts: Sequence[str]) -> tuple[Codes, list[str]]:
    """Each text as the number of its first appearance, and the distinct texts in that order.

    Example:
        >>> codes, names = codes_of(["b", "a", "b"])
        >>> codes.tolist(), names
        ([0, 1, 0], ['b', 'a'])
    """
    place: dict[str, int] = {}
    codes = np.fromiter((place.setdefault(text, len(place)) for text in texts), dtype=np.int64, count=len(texts))
    return codes, list(place)


def ignored_columns(path: Path | str, known: Sequence[str]) -> tuple[str, ...]:
    """Columns of a file that its format does not know.

    Raises:
        MeasureError: The file cannot be read.
    """
    text = _text(Path(path), str(path))
    header = _header(next(_pieces(text, _delimiter(text), str(path)), []))
    return tuple(column for column in header if column and column not in known)


def _delimiter(text: str) -> str:
    first = text.split("\n", 1)[0]
    return max(_DELIMITERS, key=first.count)


def _header(rows: list[list[str]]) -> list[str]:
    names = [cell.strip().lower() for row in rows for cell in row]
    while names and not names[-1]:
        names.pop()
    return names


def _text(path: Path, name: str) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise MeasureError(f"{name}: cannot be read: {error.strerror or error}") from None
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise MeasureError(f"{name}: is UTF-16 text; save it as CSV in UTF-8")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = raw[: error.start].count(b"\n") + 1
        raise MeasureError(f"{name}: row {row}: is not UTF-8 text; save it as CSV in UTF-8") from None
    if "\0" in text:
        raise MeasureError(
            f"{name}: row {text[: text.index(chr(0))].count(chr(10)) + 1}: holds NUL; is it a text file?"
        )
    return text


def _pieces(text: str, delimiter: str, name: str) -> Iterator[list[list[str]]]:
    """The header row, then the others in pieces: a list per row of a large file is what makes reading slow."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    size, done = 1, 0
    while True:
        piece: list[list[str]] = []
        try:
            piece.extend(islice(reader, size))
        except csv.Error as error:
            raise MeasureError(f"{name}: row {done + len(piece) + 1}: is not CSV: {error}") from None
        if not piece:
            return
        yield piece
        done, size = done + len(piece), _PIECE


def _fitted(row: list[str], width: int, delimiter: str, where: str) -> list[str]:
    """A row with as many cells as the header; none where all its cells are empty."""
    if len(row) == width:
        return row if any(cell.strip() for cell in row) else []
    if not any(cell.strip() for cell in row):
        return []
    if len(row) < width or any(cell.strip() for cell in row[width:]):
        raise MeasureError(f"{where}: has {len(row)} cells where the header has {width} (separated by {delimiter!r})")
    return row[:width]


def _shown(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."
