"""Taking a tuned model elsewhere: as an adapter or as whole weights, in a folder or on a hub."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from introspect.backend.local.adapters import load_adapter, verify_adapter
from introspect.backend.local.bases import Weights, load_codec, load_model, pick_dtype, weights_of
from introspect.backend.wire import ModelRef
from introspect.errors import BackendError, MissingExtraError

__all__ = ["push_model", "save_model"]

_SHARD = "5GB"


def save_model(ref: ModelRef, folder: Path | str, *, merged: bool = False, dtype: str = "float32") -> Path:
    """Write a tuned model as a folder that other programs load, with its tokenizer and chat template.

    Merged, it is an ordinary transformers model: for `AutoModelForCausalLM`, nnsight, vLLM or a GGUF converter. Not
    merged, it is a PEFT adapter that names its base: for PEFT, and for vLLM's run-time loading. Full weights are
    written whole either way. What is written answers as the reference does, up to rounding; `dtype="bfloat16"` halves
    the size and rounds small updates away.

    Args:
        ref: A model of the provider "transformers".
        folder: To be made; it must not be there, or be empty.
        merged: Whole weights in place of an adapter.
        dtype: Of merged weights: "float32", "bfloat16" or "float16".

    Returns:
        The folder.

    Raises:
        BackendError: The folder is in use, the weights are not there, or `ref` is no local model.
        MissingExtraError: The extra ``local`` is not installed.
    """
    if ref.provider != "transformers":
        raise BackendError(f"{ref} is not a model of the provider 'transformers', so its weights are not ours to save")
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackendError(f"{target} is already there and not empty; give a new folder")
    weights = weights_of(ref)
    codec, _ = load_codec(weights)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
    try:
        if merged or weights.adapter is None:
            _whole(weights, pick_dtype(torch.device("cpu"), dtype)).save_pretrained(scratch, max_shard_size=_SHARD)
        else:
            _adapter(weights, scratch)
        codec.tokenizer.save_pretrained(scratch)
        text = json.dumps({"introspect": ref.model_dump(mode="json", exclude_none=True), "merged": merged}, indent=1)
        (scratch / "introspect_model.json").write_text(text + "\n", encoding="utf-8")
        scratch.chmod(0o755)
        if target.exists():
            target.rmdir()
        scratch.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def push_model(
    ref: ModelRef, repository: str, *, merged: bool = False, dtype: str = "float32", private: bool = True
) -> str:
    """Put a tuned model on the Hugging Face hub, as `save_model` writes it.

    The key is the hub's own (`hf auth login`, or HF_TOKEN); it is neither taken nor kept here.

    Args:
        ref: A model of the provider "transformers".
        repository: "owner/name"; made if it is not there.
        merged: Whole weights in place of an adapter.
        dtype: Of merged weights.
        private: Whether a new repository is private.

    Returns:
        Address of the commit.

    Raises:
        BackendError: The hub refused, or cannot be reached.
        MissingExtraError: huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise MissingExtraError("huggingface_hub", "local") from error
    with tempfile.TemporaryDirectory(prefix="introspect-") as scratch:
        folder = save_model(ref, Path(scratch) / "model", merged=merged, dtype=dtype)
        hub: Any = HfApi()
        try:
            hub.create_repo(repository, private=private, exist_ok=True)
            done = hub.upload_folder(repo_id=repository, folder_path=str(folder), commit_message="Add a tuned model")
        except (HfHubHTTPError, OSError, ValueError) as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BackendError(
                f"the hub did not take {repository!r}: {line}. `hf auth login` gives it a key."
            ) from error
    return str(done)


def _whole(weights: Weights, dtype: torch.dtype) -> Any:
    # Merged in float32 and rounded once.
    model = load_model(weights, torch.device("cpu"), torch.float32)
    if weights.adapter is not None:
        if weights.digest is not None:
            verify_adapter(weights.adapter, weights.digest)
        model = load_adapter(model, weights.adapter).merge_and_unload()
    return model.to(dtype)


def _adapter(weights: Weights, into: Path) -> None:
    if weights.adapter is None:
        raise BackendError("there is no adapter to write")
    if weights.digest is not None:
        verify_adapter(weights.adapter, weights.digest)
    shutil.copytree(weights.adapter, into, dirs_exist_ok=True)
    config = into / "adapter_config.json"
    told = json.loads(config.read_text(encoding="utf-8"))
    # Ours names the base as a reference does; other programs want a folder or a hub id.
    told["base_model_name_or_path"] = weights.base
    config.write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")
