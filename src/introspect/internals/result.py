"""What a study of internals found: tables, sentences, and a page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from introspect._notebook import html_rows, short_repr
from introspect.internals.clustered import Estimate
from introspect.internals.row_table import Recheck
from introspect.internals.scores import Scores
from introspect.internals.self_tests import Check

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["InternalsResult"]


@dataclass(frozen=True)
class InternalsResult:
    """Figures of every arm, and the explainer against each other arm on the same rows.

    Attributes:
        task: Which.
        model: The target.
        main: The figure that the task is judged by.
        arms: Scores by arm and split.
        against: The explainer minus each arm, by "arm, split" and figure.
        checks: Self-tests.
        losses: Of each training, by epoch.
        counts: Rows.
        provenance: Of the rows.
        recheck: Rows that were computed anew.
        extra: Further figures: detection F1 by arm.
        simulated: Correlation of latents with what a simulator makes of labels, by arm, where one is given.
        notes: What should be known of an arm.
        examples: Some answers.
        asked: Candidates that labels were to be retrieved from; 0 where none were.
        made: Models with their hashes, versions and machine, in words.
    """

    task: str
    model: str
    main: str
    arms: Mapping[str, Mapping[str, Scores]]
    against: Mapping[str, Mapping[str, Estimate]]
    checks: tuple[Check, ...]
    losses: Mapping[str, Any]
    counts: Mapping[str, Any]
    provenance: Mapping[str, Any]
    recheck: Recheck
    extra: Mapping[str, Estimate] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0
    made: Mapping[str, str] = field(default_factory=dict)
    simulated: Mapping[str, Estimate] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """One row per arm, split and figure: a tidy table."""
        return [
            {"arm": arm, "split": split, "figure": name, **_numbers(figure), **_among(scores, name)}
            for arm, splits in self.arms.items()
            for split, scores in splits.items()
            for name, figure in scores.figures.items()
        ]

    def differences(self) -> list[dict[str, Any]]:
        """The explainer minus each other arm, on the same rows."""
        return [
            {"explainer minus": name.rpartition(", ")[0], "split": name.rpartition(", ")[2], "figure": figure,
             **_numbers(value), "excludes 0": value.excludes_zero}
            for name, figures in self.against.items() for figure, value in figures.items()
        ]  # fmt: skip

    def __repr__(self) -> str:
        return short_repr(self, f"{self.task} on {self.model}: {len(self.arms)} arms, judged by {self.main}")

    def _repr_html_(self) -> str:
        rows = [row for row in self.rows() if row["figure"] == self.main]
        return html_rows(f"{self.task} on {self.model}", rows, " ".join(self.notes.values()))

    def to_frame(self) -> pd.DataFrame:
        """`rows` as a data frame."""
        from introspect.measure.tabular import frame_of

        rows = self.rows()
        return frame_of(rows, list(rows[0]))

    def sentences(self) -> list[str]:
        """The result in words."""
        passed = sum(check.passed for check in self.checks)
        lines = [
            f"{self.task} on {self.model}: {', '.join(f'{n} {k}' for k, n in self.counts.items())} rows.",
            f"Self-tests: {passed} of {len(self.checks)} passed. {self.recheck}.",
            *self._fewer(),
            *(f"Made with: {name} {value}." for name, value in self.made.items()),
        ]
        for arm, splits in self.arms.items():
            for split, scores in splits.items():
                note = f" ({self.notes[arm]})" if arm in self.notes else ""
                lines.append(f"{arm}, {split}{note}: {scores}")
        for name, figures in self.against.items():
            value = figures[self.main]
            if math.isnan(value.interval.low):
                verdict = f"no interval: {value.why}"
            elif value.excludes_zero:
                verdict = "better" if value.value > 0 else "worse"
            else:
                verdict = "not told apart"
            lines.append(f"explainer minus {name}, {self.main}: {value}: {verdict}")
        lines += [f"detection F1, {name}: {value}" for name, value in self.extra.items()]
        return lines + [f"simulator correlation, {name}: {value}" for name, value in self.simulated.items()]

    def _fewer(self) -> list[str]:
        """A word on candidates, where there were fewer than was asked for."""
        spans = [s.among for splits in self.arms.values() for s in splits.values() if s.among is not None]
        if not spans or min(fewest for fewest, _ in spans) >= self.asked:
            return []
        fewest, most = min(a for a, _ in spans), max(b for _, b in spans)
        span = f"{fewest} to {most}" if most > fewest else str(fewest)
        return [
            f"Retrieval is among {span} candidates and not {self.asked}: there are no more labels that begin with "
            f"different tokens."
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "task": self.task, "model": self.model, "main": self.main, "rows": self.rows(),
            "differences": self.differences(),
            "parts": {a: {s: {k: _numbers(v) for k, v in one.parts.items()} for s, one in splits.items()}
                      for a, splits in self.arms.items()},
            "checks": [{"name": c.name, "passed": c.passed, "figure": c.figure} for c in self.checks],
            "losses": dict(self.losses), "counts": dict(self.counts), "provenance": dict(self.provenance),
            "recheck": {"rows": self.recheck.n, "different": list(self.recheck.different)},
            "detection F1": {k: _numbers(v) for k, v in self.extra.items()}, "notes": dict(self.notes),
            "simulator correlation": {k: _numbers(v) for k, v in self.simulated.items()},
            "examples": self.examples, "made with": dict(self.made),
        }  # fmt: skip

    def markdown(self) -> str:
        """A page: figures with intervals, differences, and how it was made."""
        told = self.sentences()[: 2 + len(self._fewer())]
        lines = [f"# {self.task} on {self.model}", "", *(f"- {line}" for line in told), "",
                 "| arm | rows | figure | value | 95 % interval |", "|---|---|---|---:|---|"]  # fmt: skip
        lines += [
            _line([arm, split, scores.title(name)], _numbers(figure))
            for arm, splits in self.arms.items()
            for split, scores in splits.items()
            for name, figure in scores.figures.items()
        ]
        lines += ["", "The explainer minus each other arm, on the same rows:", "",
                  "| arm | rows | figure | difference | 95 % interval |", "|---|---|---|---:|---|"]  # fmt: skip
        lines += [_line([row["explainer minus"], row["split"], row["figure"]], row) for row in self.differences()]
        for title, found in (("detection F1", self.extra), ("simulator correlation", self.simulated)):
            if found:
                lines += ["", f"| {title} with the label of | value | 95 % interval |", "|---|---:|---|"]
                lines += [_line([k], _numbers(v)) for k, v in found.items()]
        if parts := self.arms.get("explainer", {}):
            lines += ["", "Exact answers of the explainer, by part:", "", "| rows | part | exact | 95 % interval |",
                      "|---|---|---:|---|"]  # fmt: skip
            lines += [
                _line([split, name], _numbers(v)) for split, one in parts.items() for name, v in one.parts.items()
            ]
        lines += ["", "Self-tests:", "", *(f"- {check}" for check in self.checks)]
        if self.made:
            lines += [
                "",
                "| made with | |",
                "|---|---|",
                *(f"| {name} | {value} |" for name, value in self.made.items()),
            ]
        return "\n".join(lines) + "\n"

    def save(self, folder: Path) -> None:
        """Write ``result.json`` and ``result.md``."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False, default=_plain)
        (folder / "result.json").write_text(text + "\n", encoding="utf-8")
        (folder / "result.md").write_text(self.markdown(), encoding="utf-8")


def _numbers(figure: Estimate) -> dict[str, Any]:
    values = {"value": figure.value, "low": figure.interval.low, "high": figure.interval.high}
    made: dict[str, Any] = {k: round(float(v), 4) if math.isfinite(v) else None for k, v in values.items()}
    return {**made, "n": figure.n, "groups": figure.groups, "why": figure.why}


def _among(scores: Scores, name: str) -> dict[str, int | None]:
    fewest, most = scores.among if name == "retrieval" and scores.among is not None else (None, None)
    return {"fewest candidates": fewest, "most candidates": most}


def _line(names: list[str], row: Mapping[str, Any]) -> str:
    return f"| {' | '.join([*names, _shown(row['value']), _span(row)])} |"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _span(row: Mapping[str, Any]) -> str:
    return f"{row['low']:.3f} to {row['high']:.3f}" if row["low"] is not None else (row["why"] or "-")


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)
