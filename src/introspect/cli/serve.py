"""``introspect serve``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from introspect.errors import ConfigError, MissingExtraError

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add the command to the command line's."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "serve",
        help="serve a model in OpenAI's wire format, with fine-tuning",
        description="Serve a model at /v1 as OpenAI's API has it: chat completions, files, fine-tuning jobs that "
        "really train, batches. Started again on the same folder, it goes on with its jobs.",
    )
    parser.add_argument(
        "model",
        metavar="BACKEND",
        help="shared, weak, split, smollm2, PROVIDER/MODEL (as transformers/HuggingFaceTB/SmolLM2-135M-Instruct), or "
        "a .json file with a model reference",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=_port, default=8000, help="port; 0 for one that is free (default 8000)")
    parser.add_argument("--key-env", metavar="NAME", help="environment variable with the key that clients must send")
    parser.add_argument(
        "--folder", default="introspect-serve", metavar="DIR", help="where its state is kept (default introspect-serve)"
    )
    parser.add_argument("--name", default="", help="what clients call the model")
    parser.add_argument("--training", metavar="FILE", help='JSON file with what "auto" means in a fine-tuning job')
    parser.set_defaults(run=_serve)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:6]) < 65536):
        raise argparse.ArgumentTypeError(f"a port is a whole number from 0 to 65535, got {text!r}")
    return int(text)


def _serve(options: argparse.Namespace) -> int:
    from introspect.backend import TrainingSpec
    from introspect.backend.secrets import Secret
    from introspect.serve.config import ServeConfig
    from introspect.serve.naming import named_model

    try:
        from introspect.serve.running import serve
    except ModuleNotFoundError as error:
        if error.name in ("starlette", "uvicorn"):
            raise MissingExtraError(error.name, "serve") from None
        raise
    key = None
    if options.key_env is not None:
        if not os.environ.get(options.key_env, "").strip():
            raise ConfigError(f"--key-env names {options.key_env}, but that environment variable is not set")
        key = Secret(os.environ[options.key_env])
    spec = None
    if options.training is not None:
        try:
            spec = TrainingSpec.model_validate_json(Path(options.training).read_text(encoding="utf-8"))
        except ConfigError as error:
            raise ConfigError(f"{options.training} holds no training settings: {error}") from None
    config = ServeConfig(
        model=named_model(options.model), folder=Path(options.folder), name=options.name, key=key, spec=spec
    )
    serve(config, options.host, options.port)
    return 0
