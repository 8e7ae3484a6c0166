"""The OpenAI wire format over any backend: chat, files, fine-tuning jobs with real training behind them, batches.

Needs the extra ``serve`` (starlette and uvicorn), which is loaded when a server is made.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from introspect.errors import MissingExtraError

if TYPE_CHECKING:
    from introspect.serve.app import make_app
    from introspect.serve.config import Limits, ServeConfig
    from introspect.serve.naming import named_model
    from introspect.serve.running import serve, serving

__all__ = ["Limits", "ServeConfig", "make_app", "named_model", "serve", "serving"]

_HOME = {
    "Limits": "config",
    "ServeConfig": "config",
    "make_app": "app",
    "named_model": "naming",
    "serve": "running",
    "serving": "running",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name in ("starlette", "uvicorn", "python_multipart"):
            raise MissingExtraError(error.name, "serve") from None
        raise
