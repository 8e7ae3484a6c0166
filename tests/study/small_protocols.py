"""Small protocols that run on the simulated agent in about a second."""

from __future__ import annotations

from introspect.study import Protocol

SMALL = """\
protocol: 1
name: small
contexts: {instilled: 12, native: 11}
instil: {choices: 24}
measure: {choices: 12, native_choices: 12}
report:
  ask: {reports: 2}
  train: {examples: 1}
score: {n_boot: 50, n_null: 49}
"""


def small_protocol(more: str = "") -> Protocol:
    """The protocol with further YAML lines."""
    return Protocol.from_yaml(SMALL + more, "small.yaml")
