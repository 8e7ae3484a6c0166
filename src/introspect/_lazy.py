"""Names of a package that are imported when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from introspect.errors import MissingExtraError

__all__ = ["lazy_names"]


def lazy_names(package: str, home: Mapping[str, str], extra: str = "") -> Callable[[str], Any]:
    """The `__getattr__` of a package whose names live in modules of it that cost something to import.

    Args:
        package: Its name.
        home: Name -> the module that holds it, counted from the package.
        extra: The extra that brings what those modules import.

    Example:
        >>> get = lazy_names("introspect.subjects", {"SimulatedAgent": "simulated"})
        >>> get("SimulatedAgent").__name__
        'SimulatedAgent'
        >>> get("Agent")
        Traceback (most recent call last):
        AttributeError: module 'introspect.subjects' has no attribute 'Agent'
    """

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return getattr(import_module(f"{package}.{home[name]}"), name)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            # A module of our own that is missing is a fault, and no reason to install anything.
            if not extra or missing in ("introspect", ""):
                raise
            raise MissingExtraError(missing, extra) from None

    return get
