"""Simulators: told what a latent means, they say where it will speak."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

import numpy as np
import numpy.typing as npt

from introspect.errors import ConfigError
from introspect.internals.latent_labels import named_by
from introspect.internals.word_lists import word_lists

__all__ = ["Simulator", "known_simulators", "register_simulator", "simulator_named"]

Simulator = Callable[[str, tuple[str, ...]], npt.NDArray[np.float64]]
"""Told a label and the words of tokens; says how loudly a latent of that label will speak at each of them."""
_GROUP = "introspect.simulators"
_registered: dict[str, Simulator] = {}


def register_simulator(name: str, simulator: Simulator) -> None:
    """Make a simulator known by a name, so that settings can ask for it.

    A package does the same for all processes, the command line among them, with an entry point in the group
    ``introspect.simulators``.

    Raises:
        ConfigError: The name is empty, or that of the built-in one.

    Example:
        >>> register_simulator("longer words", lambda label, words: np.array([len(w) for w in words], float))
        >>> simulator_named("longer words")("any", ("a", "plum")).tolist()
        [1.0, 4.0]
    """
    if not name or name == "rule":
        raise ConfigError(f'a simulator needs a name of its own, got {name!r}; "rule" is built in')
    _registered[name] = simulator


def known_simulators() -> tuple[str, ...]:
    """Names of all simulators: built in, registered, and brought by installed packages.

    Example:
        >>> "rule" in known_simulators()
        True
    """
    return tuple(sorted({"rule", *_registered, *(point.name for point in metadata.entry_points(group=_GROUP))}))


def simulator_named(name: str) -> Simulator:
    """The simulator of a name.

    Raises:
        ConfigError: There is none.

    Example:
        >>> simulator_named("rule")("color", ("red", "plum")).tolist()
        [1.0, 0.0]
    """
    if name == "rule":
        return _by_rule
    if name in _registered:
        return _registered[name]
    for point in metadata.entry_points(group=_GROUP, name=name):
        found: Simulator = point.load()
        return found
    raise ConfigError(
        f"unknown simulator {name!r}; known: {', '.join(known_simulators())}. Register it with register_simulator, or "
        f"hand the function to InternalsStudy"
    )


def _by_rule(label: str, words: tuple[str, ...]) -> npt.NDArray[np.float64]:
    """One at the words that a label names, and at those of the list that it names."""
    named = named_by(label, word_lists())
    return np.array([word.lower() in named for word in words], np.float64)
