"""Steps of a study as a graph: what needs what, what became of each, and why it was computed anew."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from introspect.backend.secrets import holds_secret
from introspect.errors import BudgetError, IntrospectError, StoreError
from introspect.store import Store

__all__ = ["Journal", "Node", "Outcome", "run_nodes"]

_log = logging.getLogger("introspect.study")

State = Literal["computed", "found", "failed", "blocked"]


@dataclass(frozen=True)
class Node:
    """One step: its name, the steps whose results it needs, and how it is run from these."""

    name: str
    needs: tuple[str, ...]
    run: Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a step.

    Attributes:
        name: The step.
        state: "computed" now, "found" as an earlier run (of this study or another) left it, "failed", or "blocked" by
            one that failed.
        why: Why it was computed, failed or could not be run.
    """

    name: str
    state: State
    why: str = ""


@dataclass
class Journal:
    """Which steps were computed in this run, and what has changed since they were last.

    Attributes:
        store: The study file.
        computed: Step -> why.
    """

    store: Store
    computed: dict[str, str] = field(default_factory=dict)
    _known: dict[str, list[Any]] | None = None

    def begin(self, name: str, inputs: Any, labels: Sequence[str]) -> None:
        """A step is about to be computed, for it was not found."""
        if self._known is None:
            self._known = {}
            for step in self.store.steps():
                self._known.setdefault(step.name, []).append(step.inputs)
        before = self._known.get(name, [])
        # Several models may share a folder, and this one's own last time is what an edit is held against.
        own = [old for old in before if _inner(old)[:1] == _inner(inputs)[:1]]
        self.computed[name] = _changes((own or before)[-1], inputs, labels) if before else "never run before"


def run_nodes(
    nodes: Iterable[Node], got: dict[str, Any], journal: Journal, prefix: str = "", tolerant: bool = True
) -> dict[str, Outcome]:
    """Run steps in the order given, which must be one in which each comes after what it needs.

    A step that fails is noted with its reason, those that need it are not run, and all others are.

    Args:
        nodes: The steps.
        got: Results by name; filled.
        journal: Told which were computed.
        prefix: What the journal's names begin with.
        tolerant: False: the first error is raised.

    Raises:
        StoreError: The study file cannot be used; nothing can go on then.
        BudgetError: What asking may cost is spent.
        IntrospectError: Any other, where errors are not tolerated.
    """
    outcomes: dict[str, Outcome] = {}
    for node in nodes:
        missing = [name for name in node.needs if name not in got]
        if missing:
            outcomes[node.name] = Outcome(node.name, "blocked", f"needs {', '.join(missing)}")
            continue
        try:
            got[node.name] = node.run(got)
        except (StoreError, BudgetError):
            raise  # what was paid for is kept, and the run goes on where there is room or money again
        except IntrospectError as error:
            if not tolerant:
                raise
            outcomes[node.name] = Outcome(node.name, "failed", _reason(error))
            continue
        except Exception as error:  # a library under a backend may raise anything; the other steps must not suffer
            if not tolerant:
                raise
            _log.exception("step %s%s", prefix, node.name)
            outcomes[node.name] = Outcome(node.name, "failed", _reason(error))
            continue
        why = journal.computed.get(prefix + node.name)
        outcomes[node.name] = Outcome(node.name, "found" if why is None else "computed", why or "")
    return outcomes


def _reason(error: Exception) -> str:
    """An error's words in one line, with its kind where it is none of ours; only its kind where they hold a key."""
    text = " ".join(str(error).split())
    if not isinstance(error, IntrospectError):
        text = f"{type(error).__name__}: {text}"
    return type(error).__name__ if holds_secret(text.encode()) else text[:500]


def _changes(before: Any, now: Any, labels: Sequence[str]) -> str:
    """What differs between two lists of inputs, in words."""
    old, new = _inner(before), _inner(now)
    if len(old) != len(new):
        return "other inputs"
    parts = [
        _change(labels[k] if k < len(labels) else "input", a, b)
        for k, (a, b) in enumerate(zip(old, new, strict=True))
        if a != b
    ]
    return "; ".join(parts) or "its meaning has changed in this version"


def _inner(inputs: Any) -> list[Any]:
    """Steps of a seed hold [seed, inputs]."""
    inner = inputs[1] if isinstance(inputs, list) and len(inputs) == 2 else inputs
    return list(inner) if isinstance(inner, list | tuple) else [inner]


def _change(label: str, old: Any, new: Any) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(k for k in {*old, *new} if old.get(k) != new.get(k))
        return f"{label}: " + ", ".join(f"{k} {old.get(k)} -> {new.get(k)}" for k in keys)
    if label.startswith("another"):
        return label
    if isinstance(old, str) and isinstance(new, str):
        # Ids of probes and styles list their settings with commas between: only what differs is of interest.
        a, b = (re.split(r"[,()]", text) for text in (old, new))
        if len(a) == len(b):
            return f"{label}: " + ", ".join(f"{x} -> {y}" for x, y in zip(a, b, strict=True) if x != y)
    return f"{label}: {str(old)[:100]} -> {str(new)[:100]}"
