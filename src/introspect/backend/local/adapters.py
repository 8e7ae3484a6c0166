"""Adapters: where they are saved, what they hash to, and how they get onto a loaded model."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from introspect.errors import BackendError, MissingExtraError

__all__ = ["AdapterSeat", "folder_hash", "intact", "load_adapter", "save_folder", "verify_adapter"]

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


@contextmanager
def intact(model: Any) -> Iterator[None]:
    """A change of a network happens whole or not at all: after an error inside, its modules are those that it had.

    Modules, parameters and settings are put back by reference, which costs no copy; numbers that were overwritten in
    place are for the caller to put back.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Linear(2, 2))
        >>> before = network[0]
        >>> try:
        ...     with intact(network):
        ...         network[0] = torch.nn.Identity()
        ...         raise OSError
        ... except OSError:
        ...     network[0] is before
        True
    """
    held = [(module, module.training, *(dict(getattr(module, kind)) for kind in _HELD)) for module in model.modules()]
    grads = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    config = getattr(model, "config", None)
    own, settings = set(vars(model)), dict(vars(config)) if config is not None else {}
    try:
        yield
    except BaseException:
        for module, training, *parts in held:
            module.training = training
            for kind, part in zip(_HELD, parts, strict=True):
                now = getattr(module, kind)
                now.clear()
                now.update(part)
        for parameter, wanted in grads:
            parameter.requires_grad_(wanted)
        for name in set(vars(model)) - own:
            delattr(model, name)
        if config is not None:
            vars(config).clear()
            vars(config).update(settings)
        raise


_HELD = ("_modules", "_parameters", "_buffers", "_forward_hooks", "_forward_pre_hooks")


def load_adapter(model: Any, folder: Path, *, trainable: bool = False) -> Any:
    """The model wearing the adapter of a folder, in place; where that fails, the model is as it was.

    Raises:
        BackendError: The files cannot be read, do not fit the model, or lack weights that the adapter should have.
        MissingExtraError: PEFT is not installed.
    """
    try:
        from peft import PeftModel
    except ImportError as error:
        raise MissingExtraError("peft", "local") from error
    try:
        with intact(model), warnings.catch_warnings():
            # PEFT warns of weights that it did not find and goes on with random ones.
            warnings.filterwarnings("error", message=".*missing adapter keys", category=UserWarning)
            return PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
    except Exception as error:  # a damaged file makes the libraries below raise nearly anything
        told = " ".join(str(error).split())
        raise BackendError(
            f"the adapter in {folder} cannot be put on its base model ({type(error).__name__}: {told:.300}); give the "
            "folder that its training wrote, with the base that it was trained on"
        ) from error


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
        names = {id(p): name for name, p in self._plain.named_parameters()}
        with intact(self._plain):
            tuned = load_adapter(self._plain, folder)
            tuned.eval().requires_grad_(False)
            # Whole modules that an adapter brings along cannot be put back from a copy of the weights they replace.
            if not self._merge or tuned.active_peft_config.modules_to_save:
                self._beside = tuned
            else:
                self._merge_in(tuned, names)
        self._worn = (folder, digest)

    def _merge_in(self, tuned: Any, names: dict[int, str]) -> None:
        from peft.tuners.tuners_utils import BaseTunerLayer

        changed = [
            parameter
            for layer in tuned.modules()
            if isinstance(layer, BaseTunerLayer)
            for parameter in layer.get_base_layer().parameters()
        ]
        copies = {names[id(parameter)]: _compact(parameter) for parameter in changed}
        try:
            self._plain = tuned.merge_and_unload()
        except BaseException:
            with torch.no_grad():
                for parameter in changed:
                    parameter.copy_(copies[names[id(parameter)]])
            raise
        self._copies = copies

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
