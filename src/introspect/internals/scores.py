"""How good explanations are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from introspect.errors import MeasureError
from introspect.internals.clustered import Clusters, Estimate
from introspect.internals.questions import Said
from introspect.internals.row_table import Row, RowTable

__all__ = ["Scores", "has_changed_columns", "macro_f1", "paired", "score"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Figures of one explainer on one set of rows.

    Attributes:
        figures: By name: "exact", "content", "unreadable", "retrieval" where it was asked for; and for tasks with two
            sentences "changed F1", with "changed precision" and "changed recall" of the changed rows.
        parts: "exact" by part: a role, a layer, changed or unchanged.
        columns: What the figures were summed from, by row, so that two explainers can be compared in pairs.
        among: Fewest and most candidates that a label was retrieved from; None where that was not asked.
    """

    figures: Mapping[str, Estimate]
    parts: Mapping[str, Estimate]
    columns: Mapping[str, Floats]
    among: tuple[int, int] | None = None

    def title(self, name: str) -> str:
        """A figure's name, with the number of candidates beside "retrieval"."""
        if name != "retrieval" or self.among is None:
            return name
        fewest, most = self.among
        return f"{name} among {fewest}" + (f" to {most}" if most > fewest else "")

    def __str__(self) -> str:
        return "; ".join(f"{self.title(name)} {figure}" for name, figure in self.figures.items())


def score(
    table: RowTable, said: Sequence[Said], retrieved: Sequence[bool] | None = None, seed: int = 0, n_boot: int = 2000,
    among: Sequence[int] | None = None,
) -> Scores:  # fmt: skip
    """Compare answers with the truth.

    An answer that cannot be read counts as wrong everywhere; for "changed F1" it is neither a yes nor a no, so it is
    missed on the side of its truth.

    Args:
        table: The questions.
        said: An answer to each.
        retrieved: Whether the true label was found among others, where that was asked.
        seed: Of the intervals.
        n_boot: Resamples of groups.
        among: From how many candidates each label was retrieved.

    Raises:
        MeasureError: Not one answer a question.
    """
    if len(said) != len(table) or not len(table):
        raise MeasureError(f"{len(said)} answers to {len(table)} questions")
    clusters = Clusters([row.group for row in table.rows], n_boot, seed)
    content = np.array([s.content == row.truth for s, row in zip(said, table.rows, strict=True)], float)
    branch = np.array([s.changed == row.changed for s, row in zip(said, table.rows, strict=True)], float)
    columns: dict[str, Floats] = {
        "exact": content * branch,
        "content": content,
        "unreadable": np.array([not s.readable for s in said], float),
    }
    if retrieved is not None:
        columns["retrieval"] = np.array(retrieved, float)
    figures = {name: clusters.mean(column) for name, column in columns.items()}
    if all(row.changed is not None for row in table.rows):
        made = has_changed_columns([bool(row.changed) for row in table.rows], [s.changed for s in said])
        figures["changed F1"] = clusters.estimate(made, macro_f1)
        figures["changed precision"] = clusters.estimate(made, lambda s: s[..., 0] / s[..., 1])
        figures["changed recall"] = clusters.estimate(made, lambda s: s[..., 0] / s[..., 2])
        columns["changed F1"] = made
    parts: dict[str, Estimate] = {}
    named = [_parts(row) for row in table.rows]
    found = {n for names in named for n in names if n}
    by_number = sorted(found, key=lambda n: [p.zfill(6) if p.isdigit() else p for p in n.split()])
    for name in by_number:
        here = [i for i, names in enumerate(named) if name in names]
        parts[name] = Clusters([table.rows[i].group for i in here], n_boot, seed).mean(columns["exact"][here])
    return Scores(figures, parts, columns, (min(among), max(among)) if among else None)


def _parts(row: Row) -> list[str]:
    change = "" if row.changed is None else "changed" if row.changed else "unchanged"
    return [f"part {row.part}" if row.part else "", f"layer {row.layer}" if row.layer >= 0 else "", change]


def has_changed_columns(truth: Sequence[bool], said: Sequence[bool | None]) -> Floats:
    """What macro F1 is summed from, [rows, 6]: right, said and true, first of "changed", then of "unchanged".

    Precision is the share of what was *said* to have changed that did; recall the share of what *did* change that was
    said to have.

    Example:
        >>> has_changed_columns([True, False], [True, None]).sum(0).tolist()
        [1.0, 1.0, 1.0, 0.0, 0.0, 1.0]
    """
    rows = []
    for was, told in zip(truth, said, strict=True):
        yes, no = told is True, told is False
        rows.append([was and yes, yes, was, (not was) and no, no, not was])
    return np.array(rows, dtype=np.float64)


def macro_f1(sums: Floats) -> Floats:
    """Mean of the F1 of both sides; a side that neither occurs nor is said is left out.

    Example:
        >>> float(macro_f1(np.array([8.0, 10, 10, 8, 10, 10])))
        0.8
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        sides = np.stack([2 * sums[..., k] / (sums[..., k + 1] + sums[..., k + 2]) for k in (0, 3)])
    there = np.isfinite(sides)
    return np.asarray(np.where(there, sides, 0.0).sum(0) / there.sum(0))


def paired(table: RowTable, scores: Scores, others: Scores, name: str = "exact", seed: int = 0) -> Estimate:
    """A figure of one explainer minus the same of another, on the same rows, over whole groups.

    Raises:
        MeasureError: One of them lacks the figure.
    """
    if name not in scores.columns or name not in others.columns:
        raise MeasureError(
            f"both need the figure {name!r}; there are {sorted(set(scores.columns) & set(others.columns))}"
        )
    clusters = Clusters([row.group for row in table.rows], seed=seed)
    if name == "changed F1":
        return clusters.paired(scores.columns[name], others.columns[name], macro_f1)
    return clusters.difference(scores.columns[name], others.columns[name])
