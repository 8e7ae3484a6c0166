"""What lies in a folder of protocol runs: which steps are done, which failed and why, and what came out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from introspect.errors import StoreError
from introspect.store import Store
from introspect.study.differences import setting_changes

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
        protocols: What was last run, by name: protocol, model, hash.
        steps: Steps of each protocol's last run that came to its end.
        unfinished: Steps that were begun last and neither ended nor failed: a run goes on, or was killed.
        arms: r of each arm, by protocol.
        inputs: What each finished step was last computed from, by name.
    """

    folder: Path
    protocols: Mapping[str, Any]
    steps: Mapping[str, tuple[StepState, ...]]
    unfinished: tuple[str, ...]
    arms: Mapping[str, Mapping[str, float | None]]
    inputs: Mapping[str, Any]

    def sentences(self) -> list[str]:
        """The folder in words."""
        lines = []
        for name, known in self.protocols.items():
            steps = self.steps.get(name, ())
            counts = Counter(step.state for step in steps)
            told = ", ".join(f"{n} {state}" for state, n in counts.items()) or "not run to its end yet"
            lines.append(f"{name} on {known['model']}: {told}")
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
                name: {
                    "model": known["model"],
                    "hash": known["hash"],
                    "steps": [{"name": s.name, "state": s.state, "why": s.why} for s in self.steps.get(name, ())],
                }
                for name, known in self.protocols.items()
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
        inputs = {step.name: step.inputs for step in store.steps()}
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
    """Where two folders differ, protocol by protocol: settings, model, steps that were made from something else, r."""
    lines = []
    for name in dict.fromkeys([*first.protocols, *second.protocols]):
        one, other = first.protocols.get(name), second.protocols.get(name)
        if one is None or other is None:
            lines.append(f"{name}: only in {(first if other is None else second).folder}")
            continue
        lines += [f"{name}: {change}" for change in setting_changes(one["protocol"], other["protocol"])]
        if one["identity"] != other["identity"]:
            lines.append(f"{name}: model: {one['model']} -> {other['model']}")
        arms, others = first.arms.get(name, {}), second.arms.get(name, {})
        for arm in dict.fromkeys([*arms, *others]):
            a, b = arms.get(arm), others.get(arm)
            if a != b:
                lines.append(f"{name}: r of arm {arm}: {_shown(a)} -> {_shown(b)}")
    both = [name for name in first.inputs if name in second.inputs and first.inputs[name] != second.inputs[name]]
    lines += [f"step made from something else: {name}" for name in both]
    for mine, theirs, where in ((first, second, "first"), (second, first, "second")):
        only = [name for name in mine.inputs if name not in theirs.inputs]
        if only:
            more = f" and {len(only) - 3} more" if len(only) > 3 else ""
            lines.append(f"steps only in the {where}: {', '.join(only[:3])}{more}")
    return lines


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.4f}"
