"""Protocols as data: what a study does, in a file that can be named, changed, compared and run."""

from introspect.study.protocols.compiling import backend_ref, settings_of, study_of_protocol
from introspect.study.protocols.presets import PRESETS, named_protocol
from introspect.study.protocols.protocol import Protocol
from introspect.study.protocols.published import PUBLISHED, Departure, departures

__all__ = [
    "PRESETS",
    "PUBLISHED",
    "Departure",
    "Protocol",
    "backend_ref",
    "departures",
    "named_protocol",
    "settings_of",
    "study_of_protocol",
]
