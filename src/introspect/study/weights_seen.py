"""Whether weights that lie in a folder of the user's are still those that a study was begun with."""

from __future__ import annotations

import hashlib
from pathlib import Path

from introspect.backend.wire import ModelRef
from introspect.errors import StoreError
from introspect.store import Store

__all__ = ["check_weights"]

_LOCAL = ("transformers", "vllm")
_KINDS = (".safetensors", ".gguf", ".bin")


def check_weights(store: Store, model: ModelRef) -> None:
    """Note what weights a folder holds, or hold them against what was noted: a folder's name stays the same when
    other weights are put into it, and everything that was asked of the first would be believed of the second.

    Weights are read only where names, sizes or times of change differ. A model with a revision is checked when it is
    opened, and one that is named by a hub or a package has no files of the user's.

    Raises:
        StoreError: They are others.
    """
    files = _files(model)
    if not files:
        return
    seen = [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files]
    noted = dict(store.manifest.get("weights", {}))
    before = noted.get(model.key)
    if before is not None and before["files"] == seen:
        return
    found = _hash(files)
    if before is not None and before["hash"] != found:
        raise StoreError(
            f"the weights in {model.model} are no longer those that {store.path.parent} was made with; give another "
            "folder with --out for the new ones, or put the former back"
        )
    store.manifest["weights"] = {**noted, model.key: {"files": seen, "hash": found}}


def _files(model: ModelRef) -> list[Path]:
    if model.provider not in _LOCAL or model.revision is not None:
        return []
    path = Path(model.model).expanduser()
    if path.is_file():
        return [path]
    return sorted(f for f in path.iterdir() if f.suffix in _KINDS and f.is_file()) if path.is_dir() else []


def _hash(files: list[Path]) -> str:
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.name}\0{digest}\n".encode())
    return "sha256:" + whole.hexdigest()
