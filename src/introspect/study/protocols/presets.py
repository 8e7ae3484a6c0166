"""Protocols that can be named."""

from __future__ import annotations

from functools import cache

from introspect.errors import ConfigError
from introspect.study.protocols.protocol import Protocol
from introspect.study.protocols.sections import Ask, Contexts, ControlWord, Draw, Instil, Measure, Report, Train

__all__ = ["PRESETS", "named_protocol"]

_ALL_CONTROLS = (
    "untuned", "placebo", "few-shot", "privileged", "grounding", "dose", "temperature", "seeds", "trajectory",
    "prompts", "common-sense",
)  # fmt: skip

PRESETS = ("plunkett2025", "recommended", "organism", "chat", "beyond-weights")
"""Names of the protocols that come with the library."""


@cache
def _presets() -> dict[str, Protocol]:
    """Made when first asked for: their words are checked, and controls stand on protocols."""
    protocols = (
        Protocol(
            name="plunkett2025",
            about="The published experiment as published, but for what the protocol's fields say (arXiv 2505.17120).",
            contexts=Contexts(instilled=100, native=100),
            draw=Draw(sides="as-drawn"),
            instil=Instil(choices=50, validation=10),
            measure=Measure(design="random", read="text", estimator="unit-normal", after_report_training=False),
            report=Report(ask=Ask(reports=10)),
        ),
        Protocol(
            name="recommended",
            about="Our defaults, with choices measured again after report training and every control.",
            controls=tuple(ControlWord(word=word) for word in _ALL_CONTROLS),
        ),
        Protocol(
            name="organism",
            about="What `introspect quickstart` runs on an organism.",
            measure=Measure(design="random"),
        ),
        Protocol(
            name="chat",
            about="A small chat model on a CPU: few contexts, many choices each, and the controls that need words.",
            contexts=Contexts(instilled=4, native=2),
            instil=Instil(choices=160),
            measure=Measure(design="random", choices=30, native_choices=30),
            report=Report(ask=Ask(reports=2), train=Train(examples=4)),
            controls=tuple(ControlWord(word=word) for word in ("untuned", "few-shot", "prompts", "common-sense")),
        ),
        Protocol(
            name="beyond-weights",
            about="Hidden rules that no weights can follow, three options a trial, and who foretells single choices.",
            draw=Draw(rule="lexicographic", options=3),
            controls=tuple(ControlWord(word=word) for word in ("rules", "self-prediction", "disposition")),
        ),
    )
    return {protocol.name: protocol for protocol in protocols}


def named_protocol(name: str) -> Protocol:
    """A preset.

    Raises:
        ConfigError: There is none of that name.

    Example:
        >>> named_protocol("plunkett2025").measure.estimator
        'unit-normal'
    """
    if name not in PRESETS:
        raise ConfigError(f"there is no protocol {name!r}: known are {', '.join(PRESETS)}, or give a YAML file")
    return _presets()[name]
