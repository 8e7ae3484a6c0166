"""Scenario files: what stands in them, and what is said when it does not make scenarios."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from introspect._yaml import load_yaml
from introspect.decision.scenario import DecisionScenario
from introspect.errors import ScenarioError

__all__ = ["document", "is_json", "read_json", "read_yaml", "scenarios_of"]

_FORMAT = "introspect-scenarios"
_VERSION = 1


def document(scenarios: Iterable[DecisionScenario]) -> dict[str, Any]:
    """Plain data that `scenarios_of` reads back without loss."""
    return {"format": _FORMAT, "version": _VERSION, "scenarios": [_plain(s) for s in scenarios]}


def scenarios_of(data: Any, source: str) -> list[DecisionScenario]:
    """Scenarios from plain data: a list, or a mapping with the list under "scenarios".

    Raises:
        ScenarioError: One line naming the source, the scenario and the field.
    """
    rows = data
    if isinstance(data, dict):
        unknown = sorted(set(map(str, data)) - {"format", "version", "scenarios"})
        if unknown or "scenarios" not in data:
            raise ScenarioError(
                f'{source}: expected a list of scenarios, or a mapping with "scenarios", got keys '
                f"{', '.join(map(str, data))}"
            )
        if data.get("version", _VERSION) != _VERSION:
            raise ScenarioError(f"{source}: format version {data['version']!r} is not known here (known: {_VERSION})")
        rows = data["scenarios"]
    if rows is None:
        raise ScenarioError(
            f"{source}: there is nothing in it; write a list of scenarios, as introspect.catalogue()[:2].to_yaml() does"
        )
    if not isinstance(rows, list):
        raise ScenarioError(f"{source}: expected a list of scenarios, got {type(rows).__name__}")
    scenarios = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ScenarioError(f"{source}: scenario number {number}: expected a mapping, got {row!r:.60}")
        where = source if "id" in row else f"{source}: scenario number {number}"
        try:
            scenarios.append(DecisionScenario.model_validate({str(k): v for k, v in row.items()}))
        except ScenarioError as error:
            raise ScenarioError(f"{where}: {error}") from None
    return scenarios


def read_json(text: str, source: str) -> Any:
    """Plain data from JSON.

    Raises:
        ScenarioError: It is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ScenarioError(f"{source}: not readable as JSON: {error}") from None


def read_yaml(text: str, source: str) -> Any:
    """Plain data from YAML.

    Raises:
        ScenarioError: It is not YAML, asks for more than plain data, gives a key twice, or has aliases without end.
    """
    return load_yaml(text, source, ScenarioError)


def is_json(path: Path) -> bool:
    """Whether a scenario file is JSON; if not, it is YAML.

    Raises:
        ScenarioError: Neither, by its ending.
    """
    if path.suffix.lower() not in (".json", ".yaml", ".yml"):
        raise ScenarioError(f"{path}: scenario files end in .yaml, .yml or .json")
    return path.suffix.lower() == ".json"


def _plain(scenario: DecisionScenario) -> dict[str, Any]:
    """Only what a person would write: no defaults, whole numbers without a point."""
    row = scenario.model_dump(mode="json", exclude_defaults=True)
    for axis in row["attributes"]:
        if "levels" in axis:
            for field in ("low", "high", "step"):
                axis.pop(field, None)
        for field in ("low", "high", "step"):
            if field in axis and float(axis[field]).is_integer() and abs(axis[field]) < 2**53:
                axis[field] = int(axis[field])
    return row
