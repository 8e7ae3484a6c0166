"""A set of trials as columns, ready for a million rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from introspect._notebook import html_table
from introspect.decision import trial_io, trial_table
from introspect.decision.scenario import DecisionScenario
from introspect.decision.trial import Trial, option_label
from introspect.decision.trial_block import TrialBlock
from introspect.errors import ScenarioError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TrialSet"]


class TrialSet:
    """Trials of any number of scenarios, held as blocks of equal shape.

    Trials are numbered through the blocks: those of `blocks[0]` first. Blocks of equal shape are merged and
    scenarios without trials dropped, so two sets with the same trials have the same blocks.

    Args:
        blocks: Columns; see `TrialBlock`.

    Raises:
        ScenarioError: Two different scenarios share an id.

    Example:
        >>> from introspect.decision.attribute import Attribute
        >>> axes = [Attribute(name=n, low=0, high=10) for n in ("p", "q")]
        >>> k = DecisionScenario(id="k", chooser="Ada", item="lot", question="Which lot?", attributes=axes)
        >>> block = TrialBlock.of((k,), [0, 0], [[[1, 2], [3, 4]], [[0, 9], [9, 0]]], label=[1, 0])
        >>> trials = TrialSet([block])
        >>> len(trials), trials.labels.tolist()
        (2, [1, 0])
        >>> scenario, trial = trials[1]
        >>> trial.values
        ((0.0, 9.0), (9.0, 0.0))
        >>> trials.differences(trials.blocks[0])
        array([[-0.2, -0.2],
               [-0.9,  0.9]])
    """

    def __init__(self, blocks: Iterable[TrialBlock] = ()) -> None:
        groups: dict[tuple[int, int, int], list[TrialBlock]] = {}
        known: dict[str, DecisionScenario] = {}
        for block in blocks:
            if not block.n:
                continue
            block = block.used()
            for scenario in block.scenarios:
                if known.setdefault(scenario.id, scenario) != scenario:
                    raise ScenarioError(f"two different scenarios are both called {scenario.id!r}")
            groups.setdefault(block.shape, []).append(block)
        self._blocks = tuple(_merged(group) for group in groups.values())

    @property
    def blocks(self) -> tuple[TrialBlock, ...]:
        """The columns, one block per (n_attributes, n_predictors, n_options)."""
        return self._blocks

    @property
    def scenarios(self) -> tuple[DecisionScenario, ...]:
        """The scenarios that have trials, each once, in order of first block."""
        return tuple({s.id: s for block in self._blocks for s in block.scenarios}.values())

    @property
    def labels(self) -> NDArray[np.int8]:
        """Labels of all trials, int8 [len(self)], -1 for none."""
        return np.concatenate([np.empty(0, dtype=np.int8), *(block.label for block in self._blocks)])

    @property
    def scenario_ids(self) -> NDArray[np.str_]:
        """Scenario id of every trial, [len(self)]."""
        parts = [np.array([s.id for s in block.scenarios])[block.scenario_index] for block in self._blocks]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.str_)

    def __len__(self) -> int:
        return sum(block.n for block in self._blocks)

    def __iter__(self) -> Iterator[tuple[DecisionScenario, Trial]]:
        return (_row(block, i) for block in self._blocks for i in range(block.n))

    def __getitem__(self, index: int) -> tuple[DecisionScenario, Trial]:
        wanted = index + len(self) if index < 0 else index
        for block in self._blocks:
            if 0 <= wanted < block.n:
                return _row(block, wanted)
            wanted -= block.n
        raise IndexError(f"trial {index} of {len(self)}")

    def __repr__(self) -> str:
        labelled = int((self.labels >= 0).sum())
        return f"TrialSet({len(self)} trials, {len(self.scenarios)} scenarios, {labelled} labelled)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TrialSet):
            return NotImplemented
        return len(self) == len(other) and self.hash == other.hash

    __hash__ = None  # type: ignore[assignment]

    @property
    def hash(self) -> str:
        """Content hash: equal for equal trials, labels and scenarios (but for tags), whatever their origin."""
        digest = hashlib.blake2b(digest_size=16)
        for block in self._blocks:
            digest.update(repr((block.n, *block.shape)).encode())
            for scenario in block.scenarios:
                digest.update(scenario.untagged().model_dump_json().encode() + b"\n")
            for name, kind in (
                ("scenario_index", "<i4"),
                ("values", "<f8"),
                ("label", "i1"),
                ("flipped", "?"),
                ("order", "<i2"),
            ):
                digest.update(np.ascontiguousarray(getattr(block, name), dtype=kind).tobytes())
        return digest.hexdigest()

    def take(self, which: ArrayLike | slice) -> TrialSet:
        """The trials selected by a mask [len(self)], by ascending or unordered indices, or by a slice.

        Within a block the order asked for is kept.

        Raises:
            ScenarioError: The mask has the wrong length, or an index is out of range.
        """
        index = self._positions(which)
        parts, start = [], 0
        for block in self._blocks:
            here = index[(index >= start) & (index < start + block.n)] - start
            parts.append(block.take(here))
            start += block.n
        return TrialSet(parts)

    def mirrored(self) -> TrialSet:
        """Every trial, followed by itself with its options, and its label, in the reverse order.

        Half of the labels then are on either side, whatever is preferred: a model that is trained on them cannot gain
        by liking a side.

        Returns:
            Twice as many trials.
        """
        parts = []
        for block in self._blocks:
            label = np.where(block.label < 0, block.label, block.n_options - 1 - block.label).astype(np.int8)
            other = TrialBlock(
                block.scenarios, block.scenario_index, block.values[:, ::-1], label, ~block.flipped, block.order
            )
            both = _merged([block, other])
            parts.append(both.take(np.arange(2 * block.n).reshape(2, -1).T.ravel()))
        return TrialSet(parts)

    def _positions(self, which: ArrayLike | slice) -> NDArray[np.intp]:
        if isinstance(which, slice):
            return np.arange(len(self))[which]
        array = np.asarray(which)
        if array.dtype == np.bool_:
            if array.shape != (len(self),):
                raise ScenarioError(f"a mask over {len(self)} trials must have that length, got shape {array.shape}")
            return np.flatnonzero(array)
        if array.size == 0:
            return np.empty(0, dtype=np.intp)
        if array.ndim != 1 or array.dtype.kind not in "iu" or array.min() < -len(self) or array.max() >= len(self):
            raise ScenarioError(f"trials are selected by a mask or by indices below {len(self)}")
        return np.where(array < 0, array + len(self), array).astype(np.intp)

    def for_scenario(self, scenario_id: str) -> TrialSet:
        """The trials of one scenario, in their order.

        Raises:
            ScenarioError: The set has no trial of that scenario.
        """
        parts = []
        for block in self._blocks:
            ids = [s.id for s in block.scenarios]
            if scenario_id in ids:
                parts.append(block.take(block.scenario_index == ids.index(scenario_id)))
        if not parts:
            raise ScenarioError(f"no trial of scenario {scenario_id!r}; there are {len(self.scenarios)} scenarios")
        return TrialSet(parts)

    def encoded(self, block: TrialBlock) -> NDArray[np.float64]:
        """Predictors of every option of a block: [n, n_options, n_predictors], each in [0, 1]."""
        return block.encoded()

    def differences(self, block: TrialBlock) -> NDArray[np.float64]:
        """Predictors of "A" minus those of "B" of a block: [n, n_predictors], each in [-1, 1]."""
        return block.differences()

    def with_labels(self, labels: ArrayLike | None) -> TrialSet:
        """The same trials with these labels, [len(self)], -1 for none; None removes all labels.

        Raises:
            ScenarioError: Another number of labels, or a label without option.
        """
        array = np.full(len(self), -1) if labels is None else np.asarray(labels)
        if array.shape != (len(self),):
            raise ScenarioError(f"labels must have shape ({len(self)},), got {array.shape}")
        if array.size and (array.dtype.kind not in "iub" or array.min() < -1 or array.max() > 25):
            raise ScenarioError("labels must be whole numbers: the chosen option from 0, or -1 for none")
        parts, start = [], 0
        for block in self._blocks:
            label = array[start : start + block.n].astype(np.int8)
            parts.append(
                TrialBlock(block.scenarios, block.scenario_index, block.values, label, block.flipped, block.order)
            )
            start += block.n
        return TrialSet(parts)

    def swapped(self) -> TrialSet:
        """The same trials with the options shown in reverse order; labels follow their option."""
        parts = []
        for block in self._blocks:
            label = np.where(block.label >= 0, block.n_options - 1 - block.label, -1).astype(np.int8)
            values = np.ascontiguousarray(block.values[:, ::-1])
            parts.append(TrialBlock(block.scenarios, block.scenario_index, values, label, ~block.flipped, block.order))
        return TrialSet(parts)

    @classmethod
    def concat(cls, sets: Iterable[TrialSet]) -> TrialSet:
        """All trials of these sets, in order; blocks of equal shape are merged."""
        return cls(block for trials in sets for block in trials.blocks)

    @classmethod
    def from_trials(cls, scenarios: Iterable[DecisionScenario], trials: Iterable[Trial]) -> TrialSet:
        """A set from single records.

        Raises:
            ScenarioError: A trial names an unknown scenario, or its values do not fit the scenario's
                attributes.
        """
        return cls(trial_io.blocks_of(scenarios, map(trial_io.row_of, trials)))

    def to_columns(self) -> dict[str, NDArray[Any]]:
        """Everything as flat named arrays (no objects), for an .npz file or a store's table.

        Example:
            >>> TrialSet.from_columns(TrialSet().to_columns()) == TrialSet()
            True
        """
        return trial_io.to_columns(self.blocks)

    @classmethod
    def from_columns(cls, columns: Mapping[str, NDArray[Any]]) -> TrialSet:
        """The inverse of `to_columns`.

        Raises:
            ScenarioError: A column is missing, unknown or does not fit the others.
        """
        return cls(trial_io.from_columns(columns))

    def to_jsonl(self, path: str | Path) -> None:
        """Write JSON Lines: a header line with the scenarios, then one line per trial (levels as indices).

        Raises:
            ScenarioError: The file cannot be written.
        """
        trial_io.write_jsonl(path, self.scenarios, self.blocks)

    @classmethod
    def from_jsonl(cls, path: str | Path) -> TrialSet:
        """Read what `to_jsonl` wrote.

        Raises:
            ScenarioError: One line naming the file, the line and what is wrong.
        """
        return cls(trial_io.read_jsonl(path))

    def to_csv(self, path: str | Path) -> None:
        """Write tidy CSV: scenario_id, label, flipped, attribute_order, A.1, A.2, .., B.1, ..

        A label is the option's number (0 = "A"), empty for none.
        Values are texts as prompts show them, in declared order. The scenarios are not part of it.

        Raises:
            ScenarioError: The file cannot be written.
        """
        trial_table.write_csv(path, self.blocks)

    @classmethod
    def from_csv(cls, path: str | Path, scenarios: Iterable[DecisionScenario]) -> TrialSet:
        """Read what `to_csv` wrote.

        Raises:
            ScenarioError: One line naming the file, the trial and what is wrong.
        """
        return cls(trial_table.read_csv(path, scenarios))

    def to_frame(self) -> pd.DataFrame:
        """The same as `to_pandas`: every table of the library has a `to_frame`."""
        return self.to_pandas()

    def _repr_html_(self) -> str:
        rows = []
        for scenario, trial in (self[k] for k in range(min(6, len(self)))):
            for letter, option in zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", trial.values, strict=False):
                shown = (
                    f"{a.name} {a.format(v)} {a.unit}".strip() for a, v in zip(scenario.attributes, option, strict=True)
                )
                mark = "← label" if trial.label is not None and letter == option_label(trial.label) else ""
                rows.append([scenario.id if letter == "A" else "", letter, "; ".join(shown), mark])
        note = f"and {len(self) - 6} more trials" if len(self) > 6 else ""
        return html_table(repr(self), ["scenario", "option", "values", ""], rows, note)

    def to_pandas(self) -> pd.DataFrame:
        """One row per trial with the columns of `to_csv`.

        Numbers are numbers, levels are names, and no label is <NA>.
        """
        return trial_table.to_frame(self.blocks)

    @classmethod
    def from_pandas(cls, frame: pd.DataFrame, scenarios: Iterable[DecisionScenario]) -> TrialSet:
        """The inverse of `to_pandas`.

        Raises:
            ScenarioError: One line naming the trial and what is wrong.
        """
        return cls(trial_table.read_frame(frame, scenarios))


def _row(block: TrialBlock, i: int) -> tuple[DecisionScenario, Trial]:
    scenario = block.scenarios[block.scenario_index[i]]
    order = block.order[i].tolist()
    label = int(block.label[i])
    trial = Trial(
        scenario_id=scenario.id,
        values=tuple(map(tuple, block.values[i].tolist())),
        label=None if label < 0 else label,
        flipped=bool(block.flipped[i]),
        attribute_order=None if order == sorted(order) else tuple(order),
    )
    return scenario, trial


def _merged(blocks: Sequence[TrialBlock]) -> TrialBlock:
    if len(blocks) == 1:
        return blocks[0]
    position: dict[str, int] = {}
    scenarios: list[DecisionScenario] = []
    index = []
    for block in blocks:
        for scenario in block.scenarios:
            if scenario.id not in position:
                position[scenario.id] = len(scenarios)
                scenarios.append(scenario)
        index.append(np.array([position[s.id] for s in block.scenarios], dtype=np.int32)[block.scenario_index])
    return TrialBlock(
        scenarios=tuple(scenarios),
        scenario_index=np.concatenate(index),
        values=np.concatenate([b.values for b in blocks]),
        label=np.concatenate([b.label for b in blocks]),
        flipped=np.concatenate([b.flipped for b in blocks]),
        order=np.concatenate([b.order for b in blocks]),
    )
