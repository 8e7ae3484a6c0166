"""Choices and reports from anywhere, held against each other arm by arm."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import JsonValue

from introspect._notebook import frame_of, html_lines, short_repr
from introspect._random import RNG, root_seed
from introspect.analysis.choices import CHOICE_COLUMNS, CHOICE_EXTRAS, read_choices
from introspect.analysis.reports import (
    FROM_FILE,
    REPORT_COLUMNS,
    REPORT_EXTRAS,
    TARGET_COLUMNS,
    matching_arm,
    read_reports,
    read_targets,
)
from introspect.analysis.sheet import ignored_columns
from introspect.analysis.trial_rows import ALL
from introspect.errors import MeasureError
from introspect.measure.accuracy import Accuracy
from introspect.measure.accuracy_metric import AccuracyMetric
from introspect.measure.choice_model import ChoiceModel, Estimator
from introspect.measure.choice_table import ChoiceTable
from introspect.measure.diagnosis import Diagnosis, diagnose
from introspect.measure.learned_weights import LearnedWeights
from introspect.measure.pooled_z import PooledZ, pooled_z
from introspect.measure.report_table import ReportTable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FIELDS", "Analysis", "ArmAnalysis", "Compat", "analyse"]

Compat = Literal["pooled-z"]

FIELDS = (
    "n_scenarios", "n_reports_used", "n_reports_dropped", "coverage", "pooled_r", "ci_low", "ci_high", "mean_within_r",
    "median_within_r", "sign_agreement", "top_attribute", "mae", "ceiling", "disattenuated_r", "null_p_context",
    "null_p_attribute", "separated_share", "learned_vs_target_r",
)  # fmt: skip
"""What the JSON of an arm holds, beside `reasons` and `diagnostics`."""

_COUNTS = ("n_scenarios", "n_reports_used", "n_reports_dropped")


@dataclass(frozen=True)
class ArmAnalysis:
    """Reports of one arm against weights of one arm.

    Attributes:
        name: Name of the arm.
        reports_from: Arm of the reports file.
        weights_from: Arm of the choices file.
        accuracy: How well the two agree.
        weights: Weights fitted to the choices.
        choices: The choices.
        reports: The reports, used or not.
        diagnosis: What is remarkable about the choices.
        compat: What the published analysis finds, where it was asked for.
    """

    name: str
    reports_from: str
    weights_from: str
    accuracy: Accuracy
    weights: LearnedWeights = field(repr=False)
    choices: ChoiceTable = field(repr=False)
    reports: ReportTable = field(repr=False)
    diagnosis: Diagnosis = field(repr=False)
    compat: PooledZ | None = None

    def __repr__(self) -> str:
        return short_repr(self, f"{self.name!r}: {self.accuracy!r}")

    def _repr_html_(self) -> str:
        return self.accuracy._repr_html_() + html_lines(self.name, self.diagnostics())

    def diagnostics(self) -> list[str]:
        """What to know before believing a number, in sentences."""
        return [self._held_against(), *self._choices(), *self._reports()]

    def _held_against(self) -> str:
        return f"Reports of arm {self.reports_from!r} are held against choices of arm {self.weights_from!r}."

    def _choices(self) -> list[str]:
        # The other sentences of the weights are flags, which the diagnosis words with what to do.
        return [*self.weights.sentences()[:2], *self.diagnosis.sentences()]

    def _reports(self) -> list[str]:
        used = self.reports.valid
        # A file's rows know why they do not match; a probe's replies have problems of their own, too many to list.
        from_file = self.reports.probe == FROM_FILE
        why = Counter(
            (self.reports.problems[k] or ("",))[0] if from_file else f"outcome {self.reports.status[k]}"
            for k in range(len(used))
            if not used[k]
        )
        return [
            f"{int(used.sum())} of {len(used)} reports name exactly their scenario's attributes.",
            *(f"Left out, {reason}: {count} report{'s' * (count != 1)}." for reason, count in why.most_common()),
        ]

    def to_dict(self) -> dict[str, JsonValue]:
        """Plain JSON: the `FIELDS`, undefined ones null, with `reasons` and `diagnostics`."""
        found = self.accuracy.to_dict()
        row: dict[str, JsonValue] = {name: found[name] for name in FIELDS}
        row["reasons"] = {
            name: self.accuracy.reason(name) or "not defined for these data" for name in FIELDS if row[name] is None
        }
        row["diagnostics"] = list(self.diagnostics())
        if self.compat is not None:
            row["compat"] = {"pooled-z": {**self.compat.to_dict(), **self._beside(self.compat)}}
        return row

    def summary(self, told: str = "") -> str:
        """A block of text: what to know first, then the numbers.

        Args:
            told: Arm whose block has said already what is to know about the choices.
        """
        choices = [f"What is said of the choices of arm {told!r} holds here."] if told else self._choices()
        lines = [f"arm {self.name}", *(f"  {line}" for line in (self._held_against(), *choices, *self._reports()))]
        lines += [f"  {line}" for line in self.accuracy.summary().splitlines()]
        if self.compat is not None:
            lines.append(f"  {self.compat.sentence()}")
            beside = self._beside(self.compat)["difference"]
            if isinstance(beside, float):
                lines.append(f"  That is {beside:+.3f} from the r above.")
        return "\n".join(lines)

    def _beside(self, compat: PooledZ) -> dict[str, JsonValue]:
        own = self.accuracy.pooled_r
        gap = compat.r - own
        return {
            "default_r": own if math.isfinite(own) else None,
            "difference": gap if math.isfinite(gap) else None,
        }


@dataclass(frozen=True)
class Analysis:
    """What `analyse` found.

    Attributes:
        arms: Comparisons by arm.
        unmatched: Arm -> why it could not be compared.
        notes: What was noticed about the files, in sentences.
    """

    arms: dict[str, ArmAnalysis]
    unmatched: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __getitem__(self, arm: str) -> ArmAnalysis:
        return self.arms[arm]

    def __repr__(self) -> str:
        return short_repr(self, "; ".join(f"{name!r}: {arm.accuracy!r}" for name, arm in self.arms.items()))

    def _repr_html_(self) -> str:
        told = [f"{name} was not compared: {why}." for name, why in self.unmatched.items()]
        return "".join(arm._repr_html_() for arm in self.arms.values()) + html_lines("", [*told, *self.notes])

    def to_frame(self) -> pd.DataFrame:
        """One row per arm, with the `FIELDS`; undefined ones are missing."""
        found = [(name, arm.to_dict()) for name, arm in self.arms.items()]
        return frame_of([{"arm": name, **{k: row[k] for k in FIELDS}} for name, row in found], ("arm", *FIELDS))

    def to_dict(self) -> dict[str, JsonValue]:
        """The one object that `--json` prints."""
        arms: dict[str, JsonValue] = {name: arm.to_dict() for name, arm in self.arms.items()}
        for name, why in self.unmatched.items():
            empty: dict[str, JsonValue] = {key: 0 if key in _COUNTS else None for key in FIELDS}
            reasons: dict[str, JsonValue] = {key: why for key in FIELDS if key not in _COUNTS}
            arms[name] = {**empty, "reasons": reasons, "diagnostics": [f"Not compared: {why}."]}
        return {"arms": arms, "notes": list(self.notes)}

    def summary(self) -> str:
        """All arms as blocks of text."""
        told: dict[str, str] = {}
        blocks = []
        for name, arm in self.arms.items():
            blocks.append(arm.summary(told.get(arm.weights_from, "")))
            told.setdefault(arm.weights_from, name)
        blocks += [f"arm {name}\n  Not compared: {why}." for name, why in self.unmatched.items()]
        if self.notes:
            blocks.append("\n".join(self.notes))
        return "\n\n".join(blocks)


def analyse(
    choices: Path | str | ChoiceTable | Mapping[str, ChoiceTable],
    reports: Path | str | ReportTable | Mapping[str, ReportTable],
    targets: Path | str | Mapping[str, Any] | None = None,
    *,
    compat: Compat | None = None,
    estimator: Estimator = "eb",
    rng: RNG = 0,
    metric: AccuracyMetric | None = None,
    drop_unknown: bool = False,
) -> Analysis:
    """Fit weights to choices, and hold reports against them, for each arm.

    Reports of an arm are held against the choices of the arm of that name, else against those of the only arm that
    there is. Reports without an arm are held against the choices of every arm.

    Args:
        choices: A tidy CSV file (see `read_choices`), a table, or tables by arm.
        reports: A tidy CSV file (see `read_reports`), a table, or tables by arm.
        targets: A tidy CSV file (see `read_targets`), or scenario_id -> {attribute: weight}: what the choices were
            meant to follow.
        compat: "pooled-z" adds what the published analysis finds (see `pooled_z`).
        estimator: Estimator of the choice model.
        rng: Seed of diagnoses, bootstrap and nulls; the same for every arm.
        metric: Resamples and draws; the default metric if not given.
        drop_unknown: Count reports with attributes that no scenario has, instead of an error.

    Raises:
        MeasureError: One line: a file is wrong, or nothing can be held against anything.

    Example:
        >>> from introspect.decision import Attribute, DecisionScenario, PreferenceSampler, TrialGenerator
        >>> axes = [Attribute(name=n, low=0, high=10) for n in "pqr"]
        >>> lots = [
        ...     DecisionScenario(id=f"k{i}", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        ...     for i in range(12)
        ... ]
        >>> wishes = PreferenceSampler().sample(lots, rng=0)
        >>> trials = TrialGenerator().trials(lots, 40, rng=1)
        >>> table = ChoiceTable.from_choices(trials, TrialGenerator().label(trials, wishes, rng=2).labels)
        >>> honest = ReportTable.from_weights({name: wish.weights for name, wish in wishes.items()})
        >>> found = analyse(table, honest, metric=AccuracyMetric(n_boot=200, n_null=99))
        >>> found["all"].accuracy.pooled_r > 0.9
        True
    """
    if compat is not None and compat not in get_args(Compat):
        raise MeasureError(f"compat must be {' or '.join(get_args(Compat))}, got {compat!r}")
    chosen = _tables(choices, ChoiceTable) or read_choices(_path(choices))
    said = _tables(reports, ReportTable) or read_reports(_path(reports), chosen, drop_unknown=drop_unknown)
    wanted: Mapping[str, Any] = {}
    if targets is not None:
        wanted = {ALL: targets} if isinstance(targets, Mapping) else read_targets(targets, chosen)
    pairs, unmatched = _pairs(list(chosen), list(said))
    model, metric = ChoiceModel(estimator=estimator), metric or AccuracyMetric()
    seed = root_seed(rng)
    measured = dict.fromkeys(arm for _, arm in pairs.values())
    fitted = {name: model.fit(chosen[name]) for name in measured}
    diagnoses = {name: diagnose(chosen[name], fitted[name], rng=seed) for name in measured}
    arms = {}
    for name, (reports_from, weights_from) in pairs.items():
        table = said[reports_from]
        if reports_from == ALL:
            table = _own_scenarios(table, chosen, weights_from)
        arms[name] = ArmAnalysis(
            name=name,
            reports_from=reports_from,
            weights_from=weights_from,
            accuracy=metric.score(
                table,
                fitted[weights_from],
                seed,
                choices=chosen[weights_from],
                target=wanted.get(name, wanted.get(ALL)),
                model=model,
            ),
            weights=fitted[weights_from],
            choices=chosen[weights_from],
            reports=table,
            diagnosis=diagnoses[weights_from],
            compat=pooled_z(chosen[weights_from], table) if compat else None,
        )
    return Analysis(arms, unmatched, _notes(choices, reports, targets))


def _pairs(chosen: list[str], said: list[str]) -> tuple[dict[str, tuple[str, str]], dict[str, str]]:
    """Arm -> (arm of the reports, arm of the choices), and why other arms have none."""
    if said == [ALL] and ALL not in chosen:
        return {name: (ALL, name) for name in chosen}, {}
    pairs: dict[str, tuple[str, str]] = {}
    unmatched: dict[str, str] = {}
    for name in said:
        other = matching_arm(name, chosen)
        if other is None:
            unmatched[name] = f"the choices have no arm {name!r}, and more than one other"
        else:
            pairs[name] = (name, other)
    used = {other for _, other in pairs.values()}
    unmatched |= {name: f"the reports have no arm {name!r}" for name in chosen if name not in used}
    if not pairs:
        raise MeasureError(
            f"no arm of the reports ({', '.join(said)}) is an arm of the choices ({', '.join(chosen)}); "
            "name them alike, or leave the column out of one file"
        )
    return pairs, unmatched


def _own_scenarios(table: ReportTable, chosen: Mapping[str, ChoiceTable], arm: str) -> ReportTable:
    """Reports of no arm, without those on scenarios that only other arms chose in: they belong to these."""
    own = {s.id for s in chosen[arm].trials.scenarios}
    others = {s.id for name, one in chosen.items() if name != arm for s in one.trials.scenarios} - own
    return table.select([name for name in table.scenario_ids if name not in others]) if others else table


def _tables(given: Any, kind: type) -> dict[str, Any] | None:
    """Tables by arm, or None where files are given."""
    if isinstance(given, kind):
        return {ALL: given}
    if not isinstance(given, Mapping):
        return None
    wrong = [name for name, table in given.items() if not isinstance(table, kind)]
    if wrong or not given:
        raise MeasureError(f"expected a file, a {kind.__name__}, or one or more by arm; got {given!r:.80}")
    return dict(given)


def _path(given: Any) -> Path | str:
    if isinstance(given, str | Path):
        return given
    raise MeasureError(f"expected a file, a table, or tables by arm, got {type(given).__name__}")


def _notes(choices: Any, reports: Any, targets: Any) -> tuple[str, ...]:
    known = (
        (choices, (*CHOICE_COLUMNS, *CHOICE_EXTRAS)),
        (reports, (*REPORT_COLUMNS, *REPORT_EXTRAS)),
        (targets, (*TARGET_COLUMNS, "arm")),
    )
    notes = []
    for given, columns in known:
        ignored = ignored_columns(given, columns) if isinstance(given, str | Path) else ()
        if ignored:
            notes.append(f"{given}: columns that are no part of the format were not read: {', '.join(ignored)}.")
    return tuple(notes)
