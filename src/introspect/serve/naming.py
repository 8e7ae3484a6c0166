"""Names: of the model that is served, and of what the command line calls it."""

from __future__ import annotations

import re
import secrets
import string
from pathlib import Path

from introspect.backend import ModelRef, known_providers
from introspect.errors import ConfigError

__all__ = ["named_model", "new_id", "served_name", "suffix_part"]

_ALPHABET = string.ascii_letters + string.digits


def new_id(prefix: str, length: int = 24) -> str:
    """A fresh id like ``file-3kT...``; ids are the only thing that ever becomes part of a path.

    Example:
        >>> new_id("file-", 4).startswith("file-")
        True
    """
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length))


def served_name(ref: ModelRef) -> str:
    """What clients call this model: its name, or the last part of its path.

    Example:
        >>> served_name(ModelRef(provider="organism", model="shared"))
        'shared'
        >>> served_name(ModelRef(provider="organism", model="~/grown.safetensors"))
        'grown'
    """
    name = ref.adapter if ref.adapter is not None and ref.adapter.startswith("ft:") else ref.model
    path = Path(name)
    if path.is_absolute() or name.startswith(("~", ".")):
        name = path.stem
    return re.sub(r"[^A-Za-z0-9._:/-]+", "-", name).strip("/") or "model"


def suffix_part(suffix: str | None) -> str:
    """A job's suffix as it appears in the tuned model's name."""
    return "" if suffix is None else re.sub(r"[^a-z0-9_.-]+", "-", suffix.lower()).strip("-")


def named_model(text: str) -> ModelRef:
    """The model that a person means on the command line.

    Args:
        text: The name of a shipped organism or a packaged model, ``PROVIDER/MODEL``, or a JSON file that holds
            a `ModelRef`.

    Raises:
        ConfigError: It is none of these.
        BackendError: There is no such organism.

    Example:
        >>> named_model("shared").provider, named_model("simulated/demo").model
        ('organism', 'demo')
    """
    from introspect.backend.models import PACKAGED, model_ref

    if text in PACKAGED:
        return model_ref(text)
    path = Path(text).expanduser()
    if path.suffix == ".json" and path.is_file():
        try:
            return ModelRef.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} does not hold a model reference: {str(error).splitlines()[0]}") from None
    provider, _, model = text.partition("/")
    if not model and text in ("shared", "weak", "split"):
        provider, model = "organism", text
    if model and provider in known_providers():
        if provider == "organism":
            from introspect.subjects.organism import organism_ref

            return organism_ref(model)
        return ModelRef(provider=provider, model=model)
    raise ConfigError(
        f"unknown model {text!r}: give shared, weak or split, {', '.join(PACKAGED)}, PROVIDER/MODEL with one of the "
        f"providers {', '.join(known_providers())}, or a .json file with a model reference"
    )
