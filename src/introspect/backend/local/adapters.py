"""Adapters: where they are saved, what they hash to, and how they get onto a loaded model."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from introspect.errors import BackendError, MissingExtraError

__all__ = ["AdapterSeat", "folder_hash", "save_folder", "verify_adapter"]

_MERGE_LIMIT = 2_000_000_000  # parameters; above it the copy of the plain weights costs more than merging saves


def folder_hash(folder: Path) -> str:
    """SHA-256 over the names and contents of a folder's files: the identity of an adapter.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "a").write_text("x")
        >>> before = folder_hash(folder)
        >>> _ = (folder / "a").write_text("y")
        >>> folder_hash(folder) == before
        False
    """
    whole = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.relative_to(folder).as_posix()}\0{digest}\n".encode())
    return whole.hexdigest()


def verify_adapter(folder: Path, digest: str) -> None:
    """Compare a folder with the hash that a reference names.

    Raises:
        BackendError: It holds something else.
    """
    found = folder_hash(folder)
    if found != digest:
        raise BackendError(f"the adapter in {folder} hashes to {found[:16]}…, but the reference names {digest[:16]}…")


def save_folder(parent: Path, write: Callable[[Path], None]) -> tuple[str, Path]:
    """Let `write` fill a new folder, name it by its content's hash, and move it into place: whole, or not there.

    Returns:
        The hash and the folder.
    """
    parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".partial-", dir=parent))
    try:
        write(scratch)
        for path in scratch.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        digest = folder_hash(scratch)
        target = parent / digest[:32]
        if target.exists() and folder_hash(target) != digest:
            shutil.rmtree(target)  # what lies there is not what its name says
        if not target.exists():
            scratch.chmod(0o755)  # mkdtemp makes it private to this user
            scratch.replace(target)
        return digest, target
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class AdapterSeat:
    """Puts adapters on one loaded model, one at a time.

    In float32 an adapter is merged into the weights, which makes asking a third faster, and the plain weights are put
    back from a copy (not by subtraction, whose rounding would grow with every change). In bfloat16 merging would
    round small updates away, so there the adapter stays beside the weights, as it was trained.

    Args:
        model: A transformers model without adapters.
        merge: Merge adapters into the weights.
    """

    def __init__(self, model: Any, *, merge: bool) -> None:
        self._plain = model
        self._merge = merge and sum(p.numel() for p in model.parameters()) <= _MERGE_LIMIT
        self._worn: tuple[Path, str] | None = None
        self._beside: Any = None
        self._copies: dict[str, torch.Tensor] = {}

    def wear(self, folder: Path | None, digest: str | None) -> Any:
        """The model with this adapter on it; with None, the plain model.

        Raises:
            BackendError: The adapter is not what its reference names, or does not fit the model.
        """
        wanted = None if folder is None or digest is None else (folder, digest)
        if wanted != self._worn:
            self._take_off()
            if wanted is not None:
                self._put_on(*wanted)
        return self._plain if self._beside is None else self._beside

    def _put_on(self, folder: Path, digest: str) -> None:
        verify_adapter(folder, digest)
        try:
            from peft import PeftModel
            from peft.tuners.tuners_utils import BaseTunerLayer
        except ImportError as error:
            raise MissingExtraError("peft", "local") from error
        names = {id(p): name for name, p in self._plain.named_parameters()}
        try:
            tuned = PeftModel.from_pretrained(self._plain, str(folder))
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise BackendError(f"the adapter in {folder} does not fit its base model: {error}") from error
        tuned.eval().requires_grad_(False)
        self._worn = (folder, digest)
        # Whole modules that an adapter brings along cannot be put back from a copy of the weights they replace.
        if not self._merge or tuned.active_peft_config.modules_to_save:
            self._beside = tuned
            return
        self._copies = {
            names[id(parameter)]: _compact(parameter)
            for layer in tuned.modules()
            if isinstance(layer, BaseTunerLayer)
            for parameter in layer.get_base_layer().parameters()
        }
        self._plain = tuned.merge_and_unload()

    def _take_off(self) -> None:
        if self._beside is not None:
            self._plain = self._beside.unload()
            self._beside = None
        parameters = dict(self._plain.named_parameters())
        with torch.no_grad():
            for name, copy in self._copies.items():
                parameters[name].copy_(copy)
        self._copies, self._worn = {}, None


def _compact(parameter: torch.Tensor) -> torch.Tensor:
    """A copy; in half the space where the weights came from a bfloat16 file and nothing is lost by it."""
    half = parameter.detach().to(torch.bfloat16)
    return half if torch.equal(half.to(parameter.dtype), parameter.detach()) else parameter.detach().clone()
