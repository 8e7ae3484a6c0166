"""One record for each of many scenarios, in a fixed order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Protocol, TypeVar

from introspect.errors import ScenarioError

__all__ = ["ByScenario", "json_records"]


class _OfScenario(Protocol):
    @property
    def scenario_id(self) -> str: ...


Record = TypeVar("Record", bound=_OfScenario)


class ByScenario(Mapping[str, Record]):
    """A mapping from scenario id to the one record of that scenario.

    Args:
        records: At most one per scenario.

    Raises:
        ScenarioError: Two records for one scenario.
    """

    noun: ClassVar[str] = "records"
    """What its records are called, in errors and in the repr."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._by_id: dict[str, Record] = {}
        for record in records:
            if record.scenario_id in self._by_id:
                raise ScenarioError(f"two {self.noun} are given for scenario {record.scenario_id!r}")
            self._by_id[record.scenario_id] = record

    def __getitem__(self, scenario_id: str) -> Record:
        return self._by_id[scenario_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} {self.noun})"


def json_records(text: str, noun: str) -> list[Any]:
    """The entries of a JSON list, each still to be validated.

    Raises:
        ScenarioError: Not JSON, or not a list.

    Example:
        >>> json_records('[{"scenario_id": "flat"}]', "rules")
        [{'scenario_id': 'flat'}]
    """
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise ScenarioError(f"{noun} are not readable as JSON: {error}") from None
    if not isinstance(rows, list):
        raise ScenarioError(f"expected a list of {noun}, got {type(rows).__name__}")
    return rows
