"""Every error the library raises on purpose.

One root, one subclass per cause. A message says what was given, what was expected and what to do next.
"""

from __future__ import annotations

__all__ = [
    "BackendError",
    "BudgetError",
    "CapabilityError",
    "ConfigError",
    "FatalBackendError",
    "IntrospectError",
    "MeasureError",
    "MissingExtraError",
    "PromptError",
    "ScenarioError",
    "SelfTestError",
    "StoreError",
    "TrainingError",
]


class IntrospectError(Exception):
    """Root of all errors raised by introspect on purpose."""


class ScenarioError(IntrospectError, ValueError):
    """An attribute, scenario, preference or trial is not usable as given."""


class PromptError(IntrospectError, ValueError):
    """A prompt cannot be rendered in, or was not written in, the style that was asked to handle it."""


class ConfigError(IntrospectError, ValueError):
    """A setting of a study, a probe or the command line is not usable."""


class BackendError(IntrospectError):
    """A model could not be opened or asked."""


class FatalBackendError(BackendError):
    """An error that dooms all further calls (bad key, out of credit, model gone)."""


class BudgetError(FatalBackendError):
    """The next call could cost more than is left, or its price is not known."""


class CapabilityError(BackendError):
    """The model cannot do what was asked of it (for example, give log-probabilities)."""


class TrainingError(IntrospectError):
    """A training set or a training run is not usable."""


class MeasureError(IntrospectError, ValueError):
    """Choices, reports or weights do not fit together."""


class SelfTestError(IntrospectError):
    """A check of the machinery itself failed at the start of a run, so what the run would find means nothing."""


class StoreError(IntrospectError):
    """The study file cannot be read, written or believed."""


class MissingExtraError(IntrospectError, ImportError):
    """An optional part is needed and not installed.

    Args:
        package: The import that failed.
        extra: The extra that brings it.

    Example:
        >>> str(MissingExtraError("torch", "organism"))
        "torch is not installed. Install it with: pip install 'introspect-lm[organism]'"
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed. Install it with: pip install 'introspect-lm[{extra}]'")
