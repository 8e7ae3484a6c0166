"""Which trial, and which of its attributes, each row of a choices file is."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from introspect.analysis.sheet import Codes, Floats, Sheet, codes_of
from introspect.decision.attribute import Attribute
from introspect.decision.scenario import MAX_ATTRIBUTES, DecisionScenario
from introspect.errors import ScenarioError

__all__ = ["ALL", "TrialRows", "arms_in"]

ALL = "all"
"""Name of the only arm of a file without a column `arm`."""

_ROUNDING = 1e-9  # of the range: values are texts, and ends may have been computed


def arms_in(sheet: Sheet) -> tuple[Codes, list[str]]:
    """Arm of every record and the names of the arms; one arm "all" where none is named.

    Raises:
        MeasureError: Some records have an arm and some have none.
    """
    if "arm" not in sheet or not any(sheet.columns["arm"]):
        return np.zeros(len(sheet), dtype=np.int64), [ALL]
    codes, names = codes_of(sheet.texts("arm"))
    for number, name in enumerate(names):
        # Scenarios and attributes are checked where they are made; an arm's name is printed as it is.
        if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name):
            raise sheet.error(int(np.argmax(codes == number)), "arm", f"expected one line of text, got {name!r}")
    return codes, names


@dataclass(frozen=True)
class TrialRows:
    """The file's rows, checked: which trial and which of its attributes each one is.

    Attributes:
        scenarios: The scenarios of the file; arms share them.
        names: Names of the trials.
        arm: Arm of each trial.
        context: Scenario (number) of each trial.
        trial: Trial of each row.
        place: Which of its scenario's attributes each row is.
        first: First row of each trial.
        a: Values of the first option, one per row.
        b: Values of the second.
        order: Place at which the row's attribute was listed, from 0; its declared place where unknown.
        swapped: Trials whose second option was shown first.
    """

    scenarios: list[DecisionScenario]
    names: list[str]
    arm: Codes
    context: Codes
    trial: Codes
    place: Codes
    first: Codes
    a: Floats
    b: Floats
    order: Codes
    swapped: NDArray[np.bool_]

    @classmethod
    def of(cls, sheet: Sheet, arm: Codes) -> TrialRows:
        scenario, ids = codes_of(sheet.texts("scenario"))
        label, names = codes_of(sheet.texts("trial"))
        attribute, axes = codes_of(sheet.texts("attribute"))
        context, context_first = _renumbered(scenario)
        trial, first = _renumbered((arm * len(ids) + scenario) * len(names) + label)
        cell, cell_first = _renumbered(context * len(axes) + attribute)
        _no_row_twice(sheet, trial * len(axes) + attribute)
        n_trials = np.bincount(context[first], minlength=len(context_first))
        _same_attributes(sheet, context, trial, cell, cell_first, n_trials, first)
        low, high = _ranges(sheet, cell, cell_first)
        a, b = (sheet.numbers(column) for column in ("value_a", "value_b"))
        for column, values in (("value_a", a), ("value_b", b)):
            slack = _ROUNDING * (high - low)
            outside = (values < low - slack) | (values > high + slack)
            if outside.any():
                i = int(np.argmax(outside))
                raise sheet.error(i, column, f"expected a value from {low[i]:g} to {high[i]:g}, got {values[i]:.12g}")
        # Attributes are numbered inside their scenario, in the order in which the file first names them.
        owner = context[cell_first]
        counts = np.bincount(owner, minlength=len(context_first))
        _enough(sheet, context_first, counts)
        position = np.empty(len(cell_first), dtype=np.int64)
        by_owner = np.argsort(owner, kind="stable")
        position[by_owner] = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        place = position[cell]
        scenarios = _scenarios(sheet, cell_first, by_owner, counts, context_first, low, high)
        order, swapped = _orders(sheet, trial, place, first)
        return cls(
            scenarios, [names[k] for k in label[first]], arm[first], context[first], trial, place, first,
            a, b, order, swapped,
        )  # fmt: skip


def _renumbered(keys: Codes) -> tuple[Codes, Codes]:
    """Keys as numbers 0, 1, .. in order of first appearance, and where each first appears."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(first), dtype=np.int64)
    rank[order] = np.arange(len(first))
    return rank[inverse.reshape(-1)], first[order]


def _no_row_twice(sheet: Sheet, keys: Codes) -> None:
    order = np.argsort(keys, kind="stable")
    again = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    if again.size:
        i = int(order[again + 1].min())
        before = sheet.rows[int(np.argmax(keys == keys[i]))]
        raise sheet.error(i, "attribute", f"the same arm, scenario, trial and attribute are in row {before}")


def _same_attributes(
    sheet: Sheet, context: Codes, trial: Codes, cell: Codes, cell_first: Codes, n_trials: Codes, first: Codes
) -> None:
    shown = np.bincount(cell)
    total = n_trials[context[cell_first]]
    odd = np.flatnonzero(shown < total)
    if not odd.size:
        return
    at = int(odd[0])
    rare = odd[(context[cell_first[odd]] == context[cell_first[at]]) & (2 * shown[odd] < total[odd])]
    at = int(rare[0]) if rare.size else at
    i = int(cell_first[at])
    name, scenario = sheet.columns["attribute"][i], sheet.columns["scenario"][i]
    if rare.size:
        raise sheet.error(
            i, "attribute",
            f"{name!r} is in {shown[at]} of the {total[at]} trials of scenario {scenario!r}; "
            "all trials of a scenario need the same attributes",
        )  # fmt: skip
    having = np.zeros(len(first), dtype=np.bool_)
    having[trial[cell == at]] = True
    lacking = int(first[np.flatnonzero((context[first] == context[i]) & ~having)[0]])
    raise sheet.error(
        lacking, "attribute",
        f"trial {sheet.columns['trial'][lacking]!r} of scenario {scenario!r} has no row for {name!r}, "
        "which the scenario's other trials have",
    )  # fmt: skip


def _ranges(sheet: Sheet, cell: Codes, cell_first: Codes) -> tuple[Floats, Floats]:
    low, high = sheet.numbers("low"), sheet.numbers("high")
    wrong = ~(low < high)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise sheet.error(i, "low", f"low must be below high, got low={low[i]:.12g} and high={high[i]:.12g}")
    for column, values in (("low", low), ("high", high)):
        declared = values[cell_first][cell]
        if (values != declared).any():
            i = int(np.argmax(values != declared))
            raise sheet.error(
                i, column,
                f"{values[i]:.12g} differs from {declared[i]:.12g} in row {sheet.rows[cell_first[cell[i]]]}; "
                "an attribute has one range in all trials of its scenario",
            )  # fmt: skip
    return low, high


def _enough(sheet: Sheet, context_first: Codes, counts: Codes) -> None:
    for i, count in zip(context_first.tolist(), counts.tolist(), strict=True):
        if not 2 <= count <= MAX_ATTRIBUTES:
            has = f"{count} attribute{'s' * (count != 1)}"
            name = sheet.columns["scenario"][i]
            raise sheet.error(i, "attribute", f"scenario {name!r} has {has}; expected 2 to {MAX_ATTRIBUTES}")


def _scenarios(
    sheet: Sheet, cell_first: Codes, by_owner: Codes, counts: Codes, context_first: Codes, low: Floats, high: Floats
) -> list[DecisionScenario]:
    known: dict[tuple[str, float, float], Attribute] = {}
    made: dict[tuple[str, tuple[Attribute, ...]], DecisionScenario] = {}
    scenarios = []
    for c, cells in enumerate(np.split(cell_first[by_owner], np.cumsum(counts)[:-1])):
        axes = []
        for i in cells.tolist():
            key = (sheet.columns["attribute"][i], float(low[i]), float(high[i]))
            try:
                axes.append(known.get(key) or known.setdefault(key, Attribute(name=key[0], low=key[1], high=key[2])))
            except ScenarioError as error:
                raise sheet.error(i, "attribute", str(error)) from None
        i = int(context_first[c])
        name = sheet.columns["scenario"][i]
        own = (name, tuple(axes))
        try:
            if own not in made:
                # The prompt's words are not in the file, and nothing here asks for them.
                made[own] = DecisionScenario(id=name, chooser="-", item=name, question="-", attributes=own[1])
        except ScenarioError as error:
            raise sheet.error(i, "scenario", str(error)) from None
        scenarios.append(made[own])
    return scenarios


def _orders(sheet: Sheet, trial: Codes, place: Codes, first: Codes) -> tuple[Codes, NDArray[np.bool_]]:
    swapped = np.zeros(len(first), dtype=np.bool_)
    if "order" not in sheet:
        return place, swapped
    cells = [cell.upper() for cell in sheet.columns["order"]]
    sides = np.array([cell in ("AB", "BA") for cell in cells])
    if not sides.any():
        return _listing(sheet, trial, place), swapped
    for i, cell in enumerate(cells):
        head = cells[first[trial[i]]]
        if cell != head:
            row = sheet.rows[first[trial[i]]]
            raise sheet.error(i, "order", f"{cell!r} differs from {head!r} in row {row} of the same trial")
        if cell not in ("AB", "BA", ""):
            raise sheet.error(i, "order", f"expected AB or BA as in other rows, got {cell!r}")
    swapped[:] = [cells[i] == "BA" for i in first]
    return place, swapped


def _listing(sheet: Sheet, trial: Codes, place: Codes) -> Codes:
    """Places from 0 at which attributes were listed; as declared where the column says nothing about it."""
    given = sheet.numbers("order", empty=True)
    whole = np.isnan(given) | (given == np.rint(given))
    if not whole.all():
        i = int(np.argmin(whole))
        raise sheet.error(
            i, "order",
            f"expected AB, BA or the whole number at which the attribute was listed, got {sheet.columns['order'][i]!r}",
        )  # fmt: skip
    sizes = np.bincount(trial)
    # Sorted by trial, then by number: the listing's places, where the numbers inside a trial all differ.
    by_trial = np.lexsort((given, trial))
    tie = np.zeros(len(given), dtype=np.bool_)
    same = (given[by_trial][1:] == given[by_trial][:-1]) & (trial[by_trial][1:] == trial[by_trial][:-1])
    tie[by_trial[1:][same]] = True
    unknown = np.bincount(trial, weights=tie | np.isnan(given)) > 0
    listed = np.empty(len(given), dtype=np.int64)
    listed[by_trial] = np.arange(len(given)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.where(unknown[trial], place, listed)
