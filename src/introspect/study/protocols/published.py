"""What arXiv 2505.17120 did, setting by setting, and where a protocol departs from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from introspect.study.protocols.protocol import Protocol

__all__ = ["PUBLISHED", "Departure", "departures"]

PUBLISHED: dict[str, Any] = {
    "contexts.instilled": 100,
    "contexts.native": 100,
    "contexts.attributes": 5,
    "draw.sides": "as-drawn",
    "draw.ties": "second option",
    "draw.report_options": "same draws in all",
    "draw.wording": "the authors'",
    "draw.contexts": "the authors'",
    "draw.options": 2,
    "draw.rule": "linear",
    "instil.choices": 50,
    "instil.validation": 10,
    "instil.train": "defaults of the service: 3 epochs, batch 10, learning rate unknown",
    "measure.choices": 50,
    "measure.native_choices": 100,
    "measure.design": "random",
    "measure.read": "text",
    "measure.temperature": 0.0,
    "measure.estimator": "unit-normal",
    "measure.after_report_training": False,
    "report.ask.reports": 10,
    "report.ask.options": "fresh",
    "report.ask.temperature": 0.0,
    "report.train.examples": 1,
    "report.train.targets": "target",
    "report.train.folds": 2,
    "report.train.all_contexts": True,
    "report.train.settings": "defaults of the service: 3 epochs, batch 1, learning rate unknown",
}
"""Setting -> what the published study did (counts and settings from the paper and its code)."""


@dataclass(frozen=True)
class Departure:
    """One setting that differs.

    Attributes:
        setting: Its path in a protocol.
        published: What was published.
        here: What this protocol does.
    """

    setting: str
    published: Any
    here: Any

    def __str__(self) -> str:
        return f"{self.setting}: {self.here} (published: {self.published})"


def departures(protocol: Protocol) -> tuple[Departure, ...]:
    """Every setting in which a protocol departs from the published study.

    Example:
        >>> [d.setting for d in departures(Protocol(name="mine"))][:3]
        ['contexts.native', 'draw.sides', 'draw.ties']
    """
    found = []
    for path, published in PUBLISHED.items():
        here: Any = protocol
        for part in path.split("."):
            here = getattr(here, part)
        if here != published:
            shown = "the backend's own settings" if here is None else here
            found.append(Departure(path, published, shown))
    return tuple(found)
