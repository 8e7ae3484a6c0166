"""An ordered set of scenarios, and its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
import yaml

from introspect._notebook import frame_of, html_table
from introspect._random import RNG, stream
from introspect.decision import scenario_io
from introspect.decision.scenario import DecisionScenario, contexts_of
from introspect.errors import ScenarioError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ScenarioSet"]


class ScenarioSet(Sequence[DecisionScenario]):
    """Scenarios in a fixed order, with unique ids.

    Files are YAML or JSON: a list of scenarios, or a mapping with the list under "scenarios".

    Args:
        scenarios: Any number of `DecisionScenario` records.

    Raises:
        ScenarioError: Two scenarios share an id.

    Example:
        >>> text = '''
        ... - id: flat
        ...   chooser: Ines
        ...   item: flat
        ...   question: Which flat would Ines rent?
        ...   attributes:
        ...     - {name: rent, unit: euro, low: 400, high: 1400}
        ...     - {name: view, levels: [yard, street, park]}
        ... '''
        >>> contexts = ScenarioSet.from_yaml(text)
        >>> contexts.ids, contexts.by_id("flat").item
        (('flat',), 'flat')
        >>> ScenarioSet.from_json(contexts.to_json()) == contexts
        True
    """

    def __init__(self, scenarios: Iterable[DecisionScenario] = ()) -> None:
        self._scenarios = tuple(contexts_of(scenarios))
        self._by_id: dict[str, DecisionScenario] = {}
        for scenario in self._scenarios:
            if scenario.id in self._by_id:
                raise ScenarioError(f"scenario id {scenario.id!r} is used twice; ids must be unique")
            self._by_id[scenario.id] = scenario

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids in order."""
        return tuple(self._by_id)

    def by_id(self, scenario_id: str) -> DecisionScenario:
        """The scenario with that id.

        Raises:
            ScenarioError: There is none.
        """
        try:
            return self._by_id[scenario_id]
        except KeyError:
            near = get_close_matches(str(scenario_id), self.ids, 3)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise ScenarioError(f"no scenario {scenario_id!r} in this set of {len(self)}{hint}") from None

    def __len__(self) -> int:
        return len(self._scenarios)

    def __iter__(self) -> Iterator[DecisionScenario]:
        return iter(self._scenarios)

    def __contains__(self, item: object) -> bool:
        if isinstance(item, str):
            return item in self._by_id
        return isinstance(item, DecisionScenario) and self._by_id.get(item.id) == item

    @overload
    def __getitem__(self, index: int) -> DecisionScenario: ...
    @overload
    def __getitem__(self, index: slice) -> ScenarioSet: ...
    def __getitem__(self, index: int | slice | str) -> DecisionScenario | ScenarioSet:
        if isinstance(index, str):
            raise ScenarioError(f"a set of scenarios is indexed by place; write by_id({index!r})")
        return ScenarioSet(self._scenarios[index]) if isinstance(index, slice) else self._scenarios[index]

    def __add__(self, other: Iterable[DecisionScenario]) -> ScenarioSet:
        return ScenarioSet([*self, *other])

    def __eq__(self, other: object) -> bool:
        return self._scenarios == other._scenarios if isinstance(other, ScenarioSet) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._scenarios)

    def __repr__(self) -> str:
        return f"ScenarioSet({len(self)} scenarios)"

    @property
    def hash(self) -> str:
        """Content hash: equal for equal scenarios in equal order. Tags do not count: no model ever sees them."""
        plain = ScenarioSet(s.untagged() for s in self) if any(s.tags for s in self) else self
        return hashlib.blake2b(plain.to_json().encode(), digest_size=16).hexdigest()

    def to_frame(self) -> pd.DataFrame:
        """One row per attribute of each scenario.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return frame_of(
            {"scenario_id": s.id, "chooser": s.chooser, "item": s.item, "tags": " ".join(s.tags)}
            | {f: getattr(a, f) for f in ("name", "unit", "kind", "low", "high", "step", "scale", "levels")}
            for s in self
            for a in s.attributes
        )

    def _repr_html_(self) -> str:
        rows = [[s.id, s.chooser, s.item, ", ".join(a.name for a in s.attributes)] for s in self[:10]]
        note = f"and {len(self) - 10} more" if len(self) > 10 else ""
        return html_table(repr(self), ["id", "chooser", "item", "attributes"], rows, note)

    def filter(self, keep: Callable[[DecisionScenario], bool]) -> ScenarioSet:
        """The scenarios for which `keep` is true, in order.

        Example:
            >>> len(ScenarioSet().filter(lambda scenario: "food" in scenario.tags))
            0
        """
        return ScenarioSet(s for s in self if keep(s))

    def sample(self, n: int, rng: RNG) -> ScenarioSet:
        """`n` different scenarios drawn at random, in this set's order.

        Raises:
            ScenarioError: n is not 1 to len(self).
        """
        if not 1 <= n <= len(self):
            raise ScenarioError(f"can sample 1 to {len(self)} scenarios from this set, asked for {n}")
        return self._pick(self._shuffled(rng, "sample")[:n])

    def split(self, size: float | int, rng: RNG) -> tuple[ScenarioSet, ScenarioSet]:
        """Two disjoint sets that together are this one; each keeps this set's order.

        Args:
            size: Size of the first set: a share (a float in (0, 1)) or a number of scenarios (an int).
            rng: Seed or generator.

        Raises:
            ScenarioError: A side would be empty.
        """
        n = size if isinstance(size, int) else round(size * len(self)) if 0 < size < 1 else 0
        if not 0 < n < len(self):
            raise ScenarioError(
                f"split size must leave both sides non-empty: a share in (0, 1) or a number from 1 to "
                f"{len(self) - 1}; got {size!r} for {len(self)} scenarios"
            )
        order = self._shuffled(rng, "split")
        return self._pick(order[:n]), self._pick(order[n:])

    def folds(self, k: int, rng: RNG) -> list[tuple[ScenarioSet, ScenarioSet]]:
        """k (train, test) pairs; every scenario is in exactly one test set, whose sizes differ by at most 1.

        Raises:
            ScenarioError: k is not 2 to len(self).
        """
        if not 2 <= k <= len(self):
            raise ScenarioError(f"folds must be 2 to the number of scenarios ({len(self)}), got {k}")
        parts = np.array_split(self._shuffled(rng, "folds"), k)
        return [
            (self._pick(np.concatenate([p for j, p in enumerate(parts) if j != i])), self._pick(part))
            for i, part in enumerate(parts)
        ]

    def _shuffled(self, rng: RNG, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        return stream(rng, name).permutation(len(self))

    def _pick(self, index: Iterable[int]) -> ScenarioSet:
        return ScenarioSet(self._scenarios[i] for i in sorted(map(int, index)))

    def to_json(self) -> str:
        """JSON text that `from_json` reads back without loss."""
        return json.dumps(scenario_io.document(self), ensure_ascii=False, indent=1, allow_nan=False)

    def to_yaml(self) -> str:
        """YAML text that `from_yaml` reads back without loss."""
        return yaml.safe_dump(scenario_io.document(self), allow_unicode=True, sort_keys=False, width=110)

    @classmethod
    def from_json(cls, text: str, source: str = "JSON text") -> Self:
        """Read JSON.

        Raises:
            ScenarioError: One line naming the source, the scenario and the field.
        """
        return cls._of(scenario_io.read_json(text, source), source)

    @classmethod
    def from_yaml(cls, text: str, source: str = "YAML text") -> Self:
        """Read YAML (plain data only: no tags are followed, and a key given twice is an error).

        Raises:
            ScenarioError: One line naming the source, the scenario and the field.
        """
        return cls._of(scenario_io.read_yaml(text, source), source)

    def save(self, path: str | Path) -> None:
        """Write to a .yaml, .yml or .json file.

        Raises:
            ScenarioError: Another ending, or the file cannot be written.
        """
        path = Path(path)
        text = self.to_json() if scenario_io.is_json(path) else self.to_yaml()
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ScenarioError(f"{path}: cannot be written: {error.strerror}") from None

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a .yaml, .yml or .json file.

        Raises:
            ScenarioError: The file cannot be read, or does not hold scenarios: one line naming the file, the
                scenario and the field.
        """
        path = Path(path)
        read = cls.from_json if scenario_io.is_json(path) else cls.from_yaml
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ScenarioError(f"{path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise ScenarioError(f"{path}: not UTF-8 text (byte {error.start})") from None
        return read(text, str(path))

    @classmethod
    def _of(cls, document: object, source: str) -> Self:
        try:
            return cls(scenario_io.scenarios_of(document, source))
        except ScenarioError as error:
            text = str(error)
            raise ScenarioError(text if text.startswith(f"{source}: ") else f"{source}: {text}") from None
