"""The OpenAI wire format over any backend: chat, files, fine-tuning jobs with real training behind them, batches.

Needs the extra ``serve`` (starlette and uvicorn), which is loaded when a server is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from introspect._lazy import lazy_names

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

__getattr__ = lazy_names(__name__, _HOME, "serve")
