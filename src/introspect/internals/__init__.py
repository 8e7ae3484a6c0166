"""The same question about the network itself: features, patched activations, removed input.

Needs the extra ``local``. Nothing heavy is imported before a name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from introspect.internals.clean_run import CleanRun
    from introspect.internals.self_tests import Check, self_test
    from introspect.internals.soft_map import SoftMap, fit_ridge
    from introspect.internals.soft_token import SoftToken
    from introspect.internals.target import Target
    from introspect.internals.write import Write

__all__ = ["Check", "CleanRun", "SoftMap", "SoftToken", "Target", "Write", "fit_ridge", "self_test"]

_HOME = {
    "Check": "self_tests",
    "CleanRun": "clean_run",
    "SoftMap": "soft_map",
    "SoftToken": "soft_token",
    "Target": "target",
    "Write": "write",
    "fit_ridge": "soft_map",
    "self_test": "self_tests",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        from introspect.errors import MissingExtraError

        if (error.name or "").startswith("introspect"):
            raise
        raise MissingExtraError(error.name or "torch", "local") from error
