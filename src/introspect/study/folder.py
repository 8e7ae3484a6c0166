"""What lies in a folder of protocol runs: which steps are done, which failed and why, and what came out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from introspect.backend.wire import canonical
from introspect.errors import StoreError
from introspect.store import Store
from introspect.study.entries import entry_changes, name_of

__all__ = ["RunFolder", "StepState", "differences", "read_folder"]


@dataclass(frozen=True)
class StepState:
    """A step of one protocol.

    Attributes:
        name: The step.
        state: "done", "failed", "blocked", or "unfinished": begun and neither ended nor failed.
        why: Why it failed, or was last computed.
    """

    name: str
    state: str
    why: str = ""


@dataclass(frozen=True)
class RunFolder:
    """A folder of protocol runs.

    Attributes:
        folder: The folder.
        protocols: What was last run (protocol, model, hash), by the folder of its results: the protocol's name, with
            the model behind it for a second model of one protocol.
        steps: Steps of each one's last run that came to its end.
        unfinished: Steps that were begun last and neither ended nor failed: a run goes on, or was killed.
        arms: r of each arm, by the same folder.
        inputs: What each finished step was computed from, by name, the last at the end: every model has its own.
    """

    folder: Path
    protocols: Mapping[str, Any]
    steps: Mapping[str, tuple[StepState, ...]]
    unfinished: tuple[str, ...]
    arms: Mapping[str, Mapping[str, float | None]]
    inputs: Mapping[str, Sequence[Any]]

    def sentences(self) -> list[str]:
        """The folder in words."""
        lines = []
        for place, known in self.protocols.items():
            steps, name = self.steps.get(place, ()), name_of(place, known)
            counts = Counter(step.state for step in steps)
            told = ", ".join(f"{n} {state}" for state, n in counts.items()) or "not run to its end yet"
            lines.append(f"{name} on {known['model']}: {told}" + (f" (in {place}/)" if place != name else ""))
            lines += [f"  {s.name}: {s.state}: {s.why}" for s in steps if s.state in ("failed", "blocked")]
        lines += [f"begun and not ended: {name} (it runs now, or was killed)" for name in self.unfinished]
        if self.unfinished:
            lines.append("Run the same protocol again to go on.")
        return lines

    def to_dict(self) -> dict[str, JsonValue]:
        """Plain JSON."""
        return {
            "folder": str(self.folder),
            "protocols": {
                place: {
                    "protocol": name_of(place, known),
                    "model": known["model"],
                    "hash": known["hash"],
                    "steps": [{"name": s.name, "state": s.state, "why": s.why} for s in self.steps.get(place, ())],
                }
                for place, known in self.protocols.items()
            },
            "unfinished": list(self.unfinished),
        }


def read_folder(folder: Path | str) -> RunFolder:
    """Read a folder; nothing is changed in it.

    Raises:
        StoreError: No protocol has been run there.
    """
    root = Path(folder).expanduser()
    with Store.open(root / "study.db", create=False) as store:
        protocols = store.manifest.get("protocols", {})
        if not protocols:
            raise StoreError(f"{root} holds no run of a protocol: `introspect run PROTOCOL --out {root}` makes one")
        outcomes = store.manifest.get("outcomes", {})
        last = {record.name: record for record in store.stages()}
        inputs: dict[str, list[Any]] = {}
        for step in store.steps():
            inputs.setdefault(step.name, []).append(step.inputs)
    steps = {
        name: tuple(StepState(n, "done" if s in ("computed", "found") else s, why) for n, s, why in rows)
        for name, rows in outcomes.items()
    }
    unfinished = tuple(name for name, record in last.items() if record.outcome == "running")
    arms = {name: _arms(root / name / "result.json") for name in protocols}
    return RunFolder(root, protocols, steps, unfinished, arms, inputs)


def _arms(path: Path) -> dict[str, float | None]:
    try:
        study = json.loads(path.read_text(encoding="utf-8"))["study"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {row["name"]: row["pooled_r"] for row in (study or {}).get("arms", [])}


def differences(first: RunFolder, second: RunFolder) -> list[str]:
    """Where two folders differ, protocol by protocol: settings, model, steps that were made from something else, r.

    What was run on the same model is compared; where there is none, what was run under the same name.
    """
    lines = []
    for one, other in _pairs(first.protocols, second.protocols):
        known = first.protocols[one] if one is not None else second.protocols[str(other)]
        title = _title(first, second, name_of(str(one or other), known), known)
        if one is None or other is None:
            lines.append(f"{title}: only in {(first if other is None else second).folder}")
            continue
        mine, theirs = first.protocols[one], second.protocols[other]
        lines += [f"{title}: {change}" for change in entry_changes(mine, theirs)]
        if mine["identity"] != theirs["identity"]:
            lines.append(f"{title}: model: {mine['model']} -> {theirs['model']}")
        arms, others = first.arms.get(one, {}), second.arms.get(other, {})
        for arm in dict.fromkeys([*arms, *others]):
            a, b = arms.get(arm), others.get(arm)
            if a != b:
                lines.append(f"{title}: r of arm {arm}: {_shown(a)} -> {_shown(b)}")
    several = any(len({canonical(e["identity"]) for e in f.protocols.values()}) > 1 for f in (first, second))
    both = [n for n in first.inputs if n in second.inputs and _other(first.inputs[n], second.inputs[n], several)]
    lines += [f"step made from something else: {name}" for name in both]
    for here, there, where in ((first, second, "first"), (second, first, "second")):
        only = [name for name in here.inputs if name not in there.inputs]
        if only:
            more = f" and {len(only) - 3} more" if len(only) > 3 else ""
            lines.append(f"steps only in the {where}: {', '.join(only[:3])}{more}")
    return lines


def _pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str | None, str | None]]:
    """Places in two folders that belong together: same protocol and model, else same protocol; None for no other."""
    left, found = dict(second), dict[str, str]()
    for alike in (True, False):
        for place, entry in first.items():
            if place in found:
                continue
            for other, told in left.items():
                same = entry["identity"] == told["identity"] or not alike
                if same and name_of(place, entry) == name_of(other, told):
                    found[place] = other
                    del left[other]
                    break
    return [*((place, found.get(place)) for place in first), *((None, other) for other in left)]


def _title(first: RunFolder, second: RunFolder, name: str, entry: Mapping[str, Any]) -> str:
    """A protocol's name, and its model's where the name does not say which is meant."""
    n = [sum(name_of(p, e) == name for p, e in folder.protocols.items()) for folder in (first, second)]
    return name if max(n) < 2 else f"{name} on {entry['model']}"


def _other(mine: Sequence[Any], theirs: Sequence[Any], several: bool) -> bool:
    """Whether a step was last made from something else; of several models, whether any of its steps was."""
    if not several:
        return bool(mine[-1] != theirs[-1])
    return {canonical(inputs) for inputs in mine} != {canonical(inputs) for inputs in theirs}


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.4f}"
