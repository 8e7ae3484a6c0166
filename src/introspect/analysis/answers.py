"""What became of each trial of a choices file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from introspect.analysis.sheet import Codes, Floats, Sheet
from introspect.analysis.trial_rows import TrialRows
from introspect.decision.reading import ReadingStatus

__all__ = ["Answers", "answers_of"]

_OUTCOMES = get_args(ReadingStatus)
_MASS_SLACK = 1e-3  # log-probabilities are often printed with three or four digits


@dataclass(frozen=True)
class Answers:
    """What became of each trial, with options as the file names them."""

    chosen: NDArray[np.int8]
    status: list[str]
    logprob: Floats


def answers_of(sheet: Sheet, rows: TrialRows) -> Answers:
    first = rows.first
    for column in ("choice", "outcome", "logp_a", "logp_b"):
        if column in sheet:
            _same_in_trial(sheet, column, rows)
    chosen = np.full(len(first), -1, dtype=np.int8)
    chance = np.full(len(first), np.nan)
    logprob = np.full((len(first), 2), np.nan)
    for k, column in enumerate(("logp_a", "logp_b")):
        if column in sheet:
            logprob[:, k] = sheet.numbers(column, empty=True)[first]
    _check_logs(sheet, first, logprob)
    status = []
    outcomes = sheet.columns.get("outcome")
    cells = sheet.columns["choice"]
    for t, i in enumerate(first.tolist()):
        said = outcomes[i].lower() if outcomes else ""
        cell = cells[i]
        if said in ("", "answered"):
            if cell:
                chance[t] = _chance(sheet, i, cell)
            elif np.isfinite(logprob[t]).all():
                chance[t] = 1.0 / (1.0 + np.exp(logprob[t, 1] - logprob[t, 0]))
            elif said:
                raise sheet.error(i, "choice", 'is empty although outcome is "answered"')
            status.append("missing" if np.isnan(chance[t]) else "answered")
        else:
            if said not in _OUTCOMES and not np.isnan(_chance(sheet, i, cell, strict=False)):
                raise sheet.error(
                    i, "outcome",
                    f"{outcomes[i] if outcomes else ''!r} is none of {', '.join(_OUTCOMES)}, and choice is {cell!r}; "
                    "write answered, or leave choice empty",
                )  # fmt: skip
            status.append(said)
    answered = ~np.isnan(chance)
    chosen[answered] = np.where(chance[answered] > 0.5, 0, 1)
    for t in np.flatnonzero(chance == 0.5).tolist():
        chosen[t] = _coin(rows, t)
    _grade(rows.context, [cells[i] for i in first.tolist()], chance, logprob)
    # What was refused has no probability of its own choice, whatever a provider returns for the letters.
    logprob[~answered] = np.nan
    return Answers(chosen, status, logprob)


def _same_in_trial(sheet: Sheet, column: str, rows: TrialRows) -> None:
    cells = sheet.columns[column]
    head = rows.first[rows.trial].tolist()
    for i, at in enumerate(head):
        if cells[i] != cells[at] and cells[i].lower() != cells[at].lower() and not _equal(cells[i], cells[at]):
            trial, scenario = sheet.columns["trial"][i], sheet.columns["scenario"][i]
            raise sheet.error(
                i, column,
                f"{cells[i]!r} differs from {cells[at]!r} in row {sheet.rows[at]}; "
                f"trial {trial!r} of scenario {scenario!r} has one {column}",
            )  # fmt: skip


def _equal(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return False


def _chance(sheet: Sheet, i: int, cell: str, strict: bool = True) -> float:
    """P(A) of a cell that is a letter or a number."""
    letter = cell.upper()
    if letter in ("A", "B"):
        return 1.0 if letter == "A" else 0.0
    try:
        value = float(cell)
    except ValueError:
        value = np.nan
    if 0.0 <= value <= 1.0 and "_" not in cell:
        return value
    if strict:
        raise sheet.error(
            i, "choice",
            f"expected A, B, a number from 0 to 1 (the probability of A), or an empty cell, got {cell[:80]!r}",
        )  # fmt: skip
    return np.nan


def _check_logs(sheet: Sheet, first: Codes, logprob: Floats) -> None:
    for k, column in enumerate(("logp_a", "logp_b")):
        high = logprob[:, k] > _MASS_SLACK
        if high.any():
            t = int(np.argmax(high))
            raise sheet.error(
                int(first[t]), column, f"a natural log-probability must not be above 0, got {logprob[t, k]:g}"
            )
    mass = np.exp(np.minimum(logprob, 0.0)).sum(axis=1)
    over = mass > 1.0 + 2 * _MASS_SLACK
    if over.any():
        t = int(np.argmax(over))
        raise sheet.error(
            int(first[t]), "logp_b", f"the probabilities of A and B sum to {mass[t]:.4f}; expected at most 1"
        )


def _coin(rows: TrialRows, t: int) -> int:
    """A fair side for a tie: fixed by the names, so that no order of rows or other trial moves it."""
    text = f"{rows.scenarios[rows.context[t]].id}\x1f{rows.names[t]}"
    return hashlib.blake2b(text.encode(), digest_size=1).digest()[0] & 1


def _grade(context: Codes, cells: list[str], chance: Floats, logprob: Floats) -> None:
    """Fill in the log-probabilities of choices that are given as numbers.

    A certain 0 or 1 is a plain choice in a scenario where no number lies between; else it is the end of a scale
    that was cut off, so that only the winner's log-probability is known.
    """
    numbers = np.array([bool(cell) and cell.upper() not in ("A", "B") for cell in cells], dtype=np.bool_)
    numbers &= ~np.isnan(chance) & np.isnan(logprob).all(axis=1)
    between = numbers & (chance > 0) & (chance < 1)
    graded = np.zeros(int(context.max(initial=-1)) + 1, dtype=np.bool_)
    graded[context[between]] = True
    fill = numbers & graded[context]
    with np.errstate(divide="ignore"):
        logs = np.stack([np.log(chance[fill]), np.log1p(-chance[fill])], axis=1)
    logprob[fill] = np.where(np.isfinite(logs), logs, np.nan)
