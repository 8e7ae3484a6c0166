"""What a study was run with: versions, machine and settings, for its manifest."""

from __future__ import annotations

import platform
import sqlite3
import sys
from importlib import metadata

from pydantic import JsonValue

from introspect._version import __version__

__all__ = ["surroundings"]

# What may change a figure. A package that is not installed is left out; none is imported for this.
_PACKAGES = (
    "numpy", "scipy", "pydantic", "openai", "httpx", "httpx2", "anyio", "stamina", "torch", "transformers", "peft",
    "trl", "accelerate", "datasets", "tokenizers", "safetensors", "tinker", "ray", "inspect-ai", "xllamacpp", "vllm",
)  # fmt: skip


def surroundings() -> dict[str, JsonValue]:
    """Versions of introspect, Python and the packages that figures may depend on, and the kind of machine.

    No host name, user name or path: a manifest is made to be handed on.

    Example:
        >>> found = surroundings()
        >>> sorted(found), "numpy" in found["packages"]
        (['introspect', 'machine', 'packages', 'platform', 'python', 'sqlite'], True)
    """
    packages: dict[str, JsonValue] = {}
    for name in _PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "introspect": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": f"{sys.platform} {platform.release()}",
        "machine": platform.machine(),
        "sqlite": sqlite3.sqlite_version,
        "packages": packages,
    }
