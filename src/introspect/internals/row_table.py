"""Questions about a target with their true answers: what every task is built into."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from introspect._notebook import html_rows, short_repr
from introspect.errors import MeasureError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Recheck", "Row", "RowTable"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """One question.

    Attributes:
        key: What it is known by; unique in its table.
        group: What it shares with others: rows of a group are on one side of the split, and are resampled together.
        split: "train", "test", or "unseen" (of a kind that no training row has).
        fields: What fills the question's words.
        truth: The true content of the answer.
        before: Answer of the untouched run, where the task has one.
        changed: Whether the answer changed, where the task has one.
        part: What results are split by: a role, a wording, a layer.
        layer: The layer, or the first of a block; -1 where there is none.
        more: Further facts about the row, such as probabilities.
    """

    key: str
    group: str
    split: str
    fields: dict[str, str]
    truth: str
    before: str = ""
    changed: bool | None = None
    part: str = ""
    layer: int = -1
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recheck:
    """What computing rows anew came to.

    Attributes:
        n: Rows computed anew.
        different: Keys of those that came out otherwise.
    """

    n: int
    different: tuple[str, ...]

    def __str__(self) -> str:
        told = f": {', '.join(self.different[:5])}" if self.different else ""
        return f"{self.n} rows computed anew, {len(self.different)} came out otherwise{told}"


@dataclass(frozen=True)
class RowTable:
    """Rows and their vectors.

    Attributes:
        task: "planted", "features", "patching" or "ablation".
        rows: The questions.
        vectors: [rows, width], or None where no vector is asked about.
        provenance: From which model, how, and what was dropped on the way.

    Example:
        >>> table = RowTable("planted", (Row("a", "g", "train", {}, "red"),), np.zeros((1, 2), np.float32), {})
        >>> RowTable.from_json(table.to_json(), table.vectors).rows == table.rows
        True
    """

    task: str
    rows: tuple[Row, ...]
    vectors: Floats | None
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        if len({row.key for row in self.rows}) != len(self.rows):
            raise MeasureError("two rows have the same key")
        if self.vectors is not None and len(self.vectors) != len(self.rows):
            raise MeasureError(f"{len(self.vectors)} vectors for {len(self.rows)} rows")
        torn = {r.group for r in self.rows if r.split == "train"} & {r.group for r in self.rows if r.split != "train"}
        if torn:
            raise MeasureError(f"the group {sorted(torn)[0]!r} is on both sides of the split")

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, *splits: str) -> RowTable:
        """The rows of some splits."""
        return self.take([i for i, row in enumerate(self.rows) if row.split in splits])

    def take(self, places: Sequence[int]) -> RowTable:
        """Some rows."""
        vectors = None if self.vectors is None else self.vectors[list(places)]
        return RowTable(self.task, tuple(self.rows[i] for i in places), vectors, self.provenance)

    def with_vectors(self, vectors: Floats | None) -> RowTable:
        """The same questions about other vectors."""
        return RowTable(self.task, self.rows, vectors, self.provenance)

    @property
    def labels(self) -> tuple[str, ...]:
        """All true contents, sorted."""
        return tuple(sorted({row.truth for row in self.rows}))

    def counts(self) -> dict[str, JsonValue]:
        """Rows by split, and how many changed."""
        found: dict[str, JsonValue] = {}
        for split in dict.fromkeys(row.split for row in self.rows):
            part = [row for row in self.rows if row.split == split]
            found[split] = len(part)
            if any(row.changed is not None for row in part):
                found[f"{split}, changed"] = sum(bool(row.changed) for row in part)
        return found

    def to_json(self) -> list[dict[str, Any]]:
        """Plain JSON; vectors apart."""
        return [{"task": self.task, "provenance": self.provenance}, *(asdict(row) for row in self.rows)]

    @classmethod
    def from_json(cls, lines: Sequence[dict[str, Any]], vectors: Floats | None) -> RowTable:
        """Read back what `to_json` wrote."""
        return cls(lines[0]["task"], tuple(Row(**line) for line in lines[1:]), vectors, lines[0]["provenance"])

    def to_jsonl(self) -> str:
        """One line a row."""
        return "".join(json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n" for line in self.to_json())

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {split}" for split, n in self.counts().items())
        return short_repr(self, f"{self.task}, {len(self)} rows: {counts}")

    def _repr_html_(self) -> str:
        rows = [{"split": r.split, "group": r.group, "truth": r.truth, "before": r.before} for r in self.rows]
        return html_rows(repr(self), rows, most=10)

    def to_frame(self) -> pd.DataFrame:
        """One row a question."""
        from introspect.measure.tabular import frame_of

        columns = ["key", "group", "split", "truth", "before", "changed", "part", "layer"]
        return frame_of([asdict(row) for row in self.rows], columns)

    def recheck(self, again: Callable[[RowTable], RowTable], k: int = 20, seed: int = 0) -> Recheck:
        """Compute some rows anew.

        Args:
            again: Computes rows from what they say of themselves.
            k: How many.
            seed: Which.
        """
        picked = sorted(np.random.default_rng(seed).permutation(len(self))[:k].tolist())
        old = self.take(picked)
        new = again(old)
        different = []
        for i, (a, b) in enumerate(zip(old.rows, new.rows, strict=True)):
            same = (a.truth, a.before, a.changed) == (b.truth, b.before, b.changed)
            if old.vectors is not None and new.vectors is not None:
                same &= _alike(old.vectors[i], new.vectors[i])
            same &= _alike(a.more.get("loud", ()), b.more.get("loud", ()))
            if not same:
                different.append(a.key)
        return Recheck(len(picked), tuple(different))


def _alike(one: npt.ArrayLike, other: npt.ArrayLike) -> bool:
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-3, atol=1e-4))
