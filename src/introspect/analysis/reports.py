"""Reports and targets from tidy CSV files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from introspect.analysis.sheet import Sheet
from introspect.analysis.trial_rows import ALL, arms_in
from introspect.decision.scenario import MAX_ATTRIBUTES
from introspect.measure.choice_table import ChoiceTable
from introspect.measure.report_table import ReportTable

__all__ = [
    "FROM_FILE",
    "REPORT_COLUMNS",
    "REPORT_EXTRAS",
    "TARGET_COLUMNS",
    "matching_arm",
    "read_reports",
    "read_targets",
]

REPORT_COLUMNS = ("scenario", "sample", "attribute", "weight")
REPORT_EXTRAS = ("arm", "outcome")
TARGET_COLUMNS = ("scenario", "attribute", "weight")

FROM_FILE = "tidy"
"""Probe id of reports that come from a file."""

Predictors = Mapping[str, tuple[str, ...]]


def read_reports(
    path: Path | str, choices: Mapping[str, ChoiceTable], *, drop_unknown: bool = False
) -> dict[str, ReportTable]:
    """One table of reports per arm, from a file with a row per reported weight.

    Columns, in any order: `scenario`, `sample`, `attribute`, `weight`, and where there are any `arm` and `outcome`.
    A report that does not name exactly its scenario's attributes is kept as a row that nothing uses, with the
    reason. A scenario of the choices that nobody reported on is listed without rows, so that it counts against
    the coverage.

    Args:
        path: UTF-8 text, separated by commas, semicolons or tabs.
        choices: What the reports will be held against, by arm: it knows the attributes of each scenario.
        drop_unknown: Count a report with an attribute that no scenario has as dropped. Without, that is an
            error, for mostly it is a misspelt file.

    Returns:
        Tables by arm, in order of first appearance; "all" where the file has no column `arm`.

    Raises:
        MeasureError: One line naming file, row (the header is row 1) and column.
    """
    sheet = Sheet.read(path, REPORT_COLUMNS, REPORT_EXTRAS)
    codes, arms = arms_in(sheet)
    scenarios, samples, attributes = (sheet.texts(column) for column in ("scenario", "sample", "attribute"))
    weights = sheet.numbers("weight", empty=True).tolist()
    outcomes = [cell.lower() for cell in sheet.columns["outcome"]] if "outcome" in sheet else [""] * len(sheet)
    known = {name for table in choices.values() for s in table.trials.scenarios for name in s.predictors}
    found: list[dict[tuple[str, str], dict[str, Any]]] = [{} for _ in arms]
    for i, (arm, scenario, sample, attribute) in enumerate(
        zip(codes.tolist(), scenarios, samples, attributes, strict=True)
    ):
        report = found[arm].setdefault(
            (scenario, sample), {"first": i, "weights": {}, "empty": [], "unknown": [], "outcome": outcomes[i]}
        )
        if attribute in report["weights"] or attribute in report["empty"]:
            raise sheet.error(i, "attribute", f"report {sample!r} on scenario {scenario!r} has {attribute!r} twice")
        if attribute not in known:
            if not drop_unknown:
                raise sheet.error(
                    i, "attribute",
                    f"no scenario of the choices has an attribute {attribute!r}{_near(choices, scenario)}; "
                    "correct the file, or drop such reports (--drop-unknown) if the model made the name up",
                )  # fmt: skip
            report["unknown"].append(attribute)
        if outcomes[i] != report["outcome"]:
            before = f"{report['outcome']!r} in row {sheet.rows[report['first']]}"
            raise sheet.error(i, "outcome", f"{outcomes[i]!r} differs from {before} of the same report")
        if math.isnan(weights[i]):
            report["empty"].append(attribute)
        else:
            report["weights"][attribute] = weights[i]
    return {
        name: _table(reports.items(), _predictors(choices, name)) for name, reports in zip(arms, found, strict=True)
    }


def matching_arm(name: str, arms: Iterable[str]) -> str | None:
    """The arm that stands beside the arm called `name`: its namesake, else the only one that there is.

    Example:
        >>> [matching_arm("after", arms) for arms in (["before", "after"], ["all"], ["a", "b"])]
        ['after', 'all', None]
    """
    found = list(arms)
    return name if name in found else found[0] if len(found) == 1 else None


def _predictors(choices: Mapping[str, ChoiceTable], arm: str) -> Predictors:
    """Attributes by scenario, of the choices that reports of this arm will be held against."""
    own = matching_arm(arm, choices)
    tables = [choices[own]] if own is not None else list(choices.values()) if arm == ALL else []
    return {s.id: s.predictors for table in tables for s in table.trials.scenarios}


def _table(reports: Iterable[tuple[tuple[str, str], dict[str, Any]]], predictors: Predictors) -> ReportTable:
    listed: dict[str, tuple[str, ...]] = dict(predictors)
    rows, count = [], dict.fromkeys(listed, 0)
    for (scenario, _), report in reports:
        if scenario not in predictors:
            names = (*report["weights"], *report["empty"])
            listed[scenario] = tuple(dict.fromkeys((*listed.get(scenario, ()), *names)))
        status, problem = _judged(report, predictors.get(scenario))
        own = listed[scenario]
        rows.append(
            {
                "scenario_id": scenario,
                "repeat": count.setdefault(scenario, 0),
                "status": status,
                "weights": {name: weight for name, weight in report["weights"].items() if name in own},
                "text": [],
                "problems": [problem] if problem else [],
                "shown": None,
            }
        )
        count[scenario] += 1
    return ReportTable.of_rows(rows, listed, {"model": "", "probe": FROM_FILE, "seed": 0, "signed": True})


def _judged(report: dict[str, Any], expected: tuple[str, ...] | None) -> tuple[str, str]:
    """Status of a report, and why it cannot be used."""
    if report["outcome"] not in ("", "answered"):
        return report["outcome"], f"outcome {report['outcome']}"
    if expected is None:
        return "missing", "no choices in its scenario"
    named = {*report["weights"], *report["empty"]}
    strange, lacking = named - set(expected), set(expected) - set(report["weights"])
    if strange:
        return "unparsable", "names attributes that its scenario does not have"
    if lacking:
        return "missing", "lacks attributes of its scenario"
    return "answered", ""


def _near(choices: Mapping[str, ChoiceTable], scenario: str) -> str:
    for table in choices.values():
        for own in table.trials.scenarios:
            if own.id == scenario:
                return f" (scenario {scenario!r} has {', '.join(map(repr, own.predictors))})"
    return ""


def read_targets(path: Path | str, choices: Mapping[str, ChoiceTable]) -> dict[str, dict[str, dict[str, float]]]:
    """Target weights by arm, scenario and attribute, from a file with a row per weight.

    Columns, in any order: `scenario`, `attribute`, `weight`, and `arm` where arms have targets of their own.
    Scenarios that the choices do not have are kept and match nothing.

    Returns:
        Targets by arm; under "all" those that hold for every arm.

    Raises:
        MeasureError: One line naming file, row (the header is row 1) and column.
    """
    sheet = Sheet.read(path, TARGET_COLUMNS, ("arm",))
    codes, arms = arms_in(sheet)
    scenarios, attributes = sheet.texts("scenario"), sheet.texts("attribute")
    weights = sheet.numbers("weight").tolist()
    known = [_predictors(choices, arm) for arm in arms]
    first: dict[tuple[int, str], int] = {}
    found: list[dict[str, dict[str, float]]] = [{} for _ in arms]
    for i, (arm, scenario, attribute) in enumerate(zip(codes.tolist(), scenarios, attributes, strict=True)):
        own = found[arm].setdefault(scenario, {})
        first.setdefault((arm, scenario), i)
        if attribute in own:
            raise sheet.error(i, "attribute", f"scenario {scenario!r} has two targets for {attribute!r}")
        expected = known[arm].get(scenario)
        if expected is None and len(own) >= MAX_ATTRIBUTES:
            raise sheet.error(i, "attribute", f"scenario {scenario!r} has more than {MAX_ATTRIBUTES} targets")
        if expected is not None and attribute not in expected:
            raise sheet.error(
                i, "attribute",
                f"scenario {scenario!r} has no attribute {attribute!r} (it has {', '.join(map(repr, expected))})",
            )  # fmt: skip
        own[attribute] = weights[i]
    for (arm, scenario), i in first.items():
        lacking = [name for name in known[arm].get(scenario, ()) if name not in found[arm][scenario]]
        if lacking:
            raise sheet.error(i, "scenario", f"scenario {scenario!r} has no target for {', '.join(map(repr, lacking))}")
    return dict(zip(arms, found, strict=True))
