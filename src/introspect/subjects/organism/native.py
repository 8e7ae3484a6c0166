"""Native contexts of an organism: those it learned in pre-training, without ever being told to report on them."""

from __future__ import annotations

from introspect.backend import ModelRef
from introspect.decision import ScenarioSet, organism_scenarios
from introspect.errors import ConfigError
from introspect.subjects.organism.shipped import load_base, organism_ref

__all__ = ["native_scenarios"]


def native_scenarios(model: ModelRef | str = "shared", n: int = 40) -> ScenarioSet:
    """Contexts for the native arm of a study: the organism chooses in them by preferences of its own.

    Contexts that came with a report in pre-training are never among them; a report on those could be recited.

    Args:
        model: An organism, or its name.
        n: How many.

    Raises:
        ConfigError: The organism has not so many.
        BackendError: There is no such organism.
        MissingExtraError: The extra ``organism`` is not installed.

    Example:
        >>> len(native_scenarios("shared", 5))
        5
    """
    if not isinstance(model, str | ModelRef):
        raise ConfigError(f"expected an organism or its name first, as in native_scenarios('shared', 5), got {model!r}")
    config = load_base(organism_ref(model) if isinstance(model, str) else model).config
    if not 0 < n <= config.n_native - config.n_reported:
        raise ConfigError(
            f"organism {config.name!r} has {config.n_native - config.n_reported} native contexts without a pre-trained "
            f"report; n must be between 1 and that, got {n}"
        )
    known = organism_scenarios(config.n_native, prefix="n")
    return known[config.n_reported : config.n_reported + n]
