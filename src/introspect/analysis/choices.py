"""Choices from a tidy CSV file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from introspect.analysis.answers import Answers, answers_of
from introspect.analysis.sheet import Sheet
from introspect.analysis.trial_rows import TrialRows, arms_in
from introspect.decision.trial_block import TrialBlock
from introspect.decision.trial_set import TrialSet
from introspect.measure.choice_table import ChoiceTable

__all__ = ["CHOICE_COLUMNS", "CHOICE_EXTRAS", "read_choices"]

CHOICE_COLUMNS = ("scenario", "trial", "attribute", "low", "high", "value_a", "value_b", "choice")
CHOICE_EXTRAS = ("arm", "outcome", "logp_a", "logp_b", "order")


def read_choices(path: Path | str) -> dict[str, ChoiceTable]:
    """One table of choices per arm, from a file with a row per attribute of every trial.

    Columns, in any order: `scenario`, `trial`, `attribute`, `low`, `high`, `value_a`, `value_b`, `choice`, and
    where there are any `arm`, `outcome`, `logp_a`, `logp_b`, `order`. See docs/analyse.md for their meaning.

    Args:
        path: UTF-8 text, separated by commas, semicolons or tabs.

    Returns:
        Tables by arm, in order of first appearance; "all" where the file has no column `arm`.

    Raises:
        MeasureError: One line naming file, row (the header is row 1) and column.

    Example:
        >>> import tempfile
        >>> text = '''scenario,trial,attribute,low,high,value_a,value_b,choice
        ... flat,1,rent,400,1400,900,700,B
        ... flat,1,size,20,120,60,55,B
        ... '''
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "choices.csv").write_text(text)
        ...     table = read_choices(Path(folder, "choices.csv"))["all"]
        >>> table.chosen.tolist(), table.trials.differences(table.trials.blocks[0]).round(3).tolist()
        ([1], [[0.2, 0.05]])
    """
    sheet = Sheet.read(path, CHOICE_COLUMNS, CHOICE_EXTRAS)
    arm, arms = arms_in(sheet)
    rows = TrialRows.of(sheet, arm)
    answers = answers_of(sheet, rows)
    return {name: _table(rows, answers, number) for number, name in enumerate(arms)}


def _table(rows: TrialRows, answers: Answers, arm: int) -> ChoiceTable:
    width = np.array([s.n_attributes for s in rows.scenarios])[rows.context]
    by_trial = np.argsort(rows.trial, kind="stable")
    sizes = np.bincount(rows.trial)
    starts = np.cumsum(sizes) - sizes
    blocks, parts = [], []
    for k in dict.fromkeys(width[rows.arm == arm].tolist()):
        members = np.flatnonzero((rows.arm == arm) & (width == k))
        own, index = np.unique(rows.context[members], return_inverse=True)
        taken = by_trial[(starts[members][:, None] + np.arange(k)).reshape(-1)]
        at, place = np.repeat(np.arange(len(members)), k), rows.place[taken]
        values = np.empty((len(members), 2, k))
        values[at, 0, place], values[at, 1, place] = rows.a[taken], rows.b[taken]
        order = np.empty((len(members), k), dtype=np.int16)
        order[at, rows.order[taken]] = place
        swapped = rows.swapped[members]
        values[swapped] = values[swapped][:, ::-1]
        scenarios = [rows.scenarios[c] for c in own]
        blocks.append(TrialBlock.of(scenarios, index.reshape(-1), values, None, swapped, order))
        parts.append(members)
    picked = np.concatenate(parts)
    swapped, chosen, logprob = rows.swapped[picked], answers.chosen[picked], answers.logprob[picked]
    logprob[swapped] = logprob[swapped][:, ::-1]
    return ChoiceTable(
        trials=TrialSet(blocks),
        model="",
        probe="tidy",
        chosen=np.where(swapped & (chosen >= 0), 1 - chosen, chosen).astype(np.int8),
        status=np.array([answers.status[t] for t in picked.tolist()], dtype=np.str_),
        text=("",) * len(picked),
        logprob=logprob,
        mass_outside=np.maximum(0.0, 1.0 - np.exp(logprob).sum(axis=1)),
        logprob_floor=np.full(len(picked), np.nan),
    )
