"""Models in memory: each base is loaded once per process, and adapters are put on it and taken off again."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from introspect.backend.local.adapters import AdapterSeat, verify_adapter
from introspect.backend.local.chat import ChatCodec
from introspect.backend.local.loading import Loading, files_of, refusal
from introspect.backend.local.schemas import Schemas
from introspect.backend.local.sharing import Sharing, find_sharing
from introspect.backend.models import resolve
from introspect.backend.wire import ModelRef
from introspect.errors import BackendError, MissingExtraError

__all__ = [
    "Base",
    "Weights",
    "acquire",
    "asked_dtype",
    "load_codec",
    "load_model",
    "load_tokenizer",
    "pick_device",
    "pick_dtype",
    "weights_of",
]

_KEPT = 2  # bases in memory at once
_bases: OrderedDict[tuple[str, ...], Base] = OrderedDict()
_bases_lock = threading.Lock()

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Weights:
    """Where a reference's weights lie.

    Attributes:
        base: Folder or hub id of full weights.
        revision: Commit of a hub id, or ``sha256:`` of a folder's weights; None where the reference has none.
        adapter: Folder of a PEFT adapter on top, if any.
        digest: What the adapter's folder must hash to.
    """

    base: str
    revision: str | None = None
    adapter: Path | None = None
    digest: str | None = None


@dataclass
class Base:
    """A loaded model, and the adapter that is on it just now.

    Attributes:
        model: The network, in evaluation mode.
        codec: Its tokenizer and template.
        context_length: Tokens it holds, where it says.
        device: Where it takes its tokens.
        dtype: What it computes in.
        sharing: How far prompts may be run together on it.
        schemas: Holds replies to JSON schemas.
        seat: Puts adapters on it.
        lock: Held by whoever runs it: another user may want another adapter.
    """

    model: Any
    codec: ChatCodec
    context_length: int | None
    device: torch.device
    dtype: torch.dtype
    sharing: Sharing
    schemas: Schemas
    seat: AdapterSeat
    lock: threading.Lock

    @contextmanager
    def wearing(self, weights: Weights) -> Iterator[Any]:
        """The network with this adapter (or none) on it, for as long as the block runs."""
        with self.lock:
            yield self.seat.wear(weights.adapter, weights.digest)


def weights_of(ref: ModelRef) -> Weights:
    """Follow a reference to files.

    Raises:
        BackendError: A packaged model that is not on this machine; an adapter whose place is unknown or gone.
    """
    if ref.adapter is None:
        return Weights(resolve(ref.model), ref.revision)
    if ref.location is None:
        raise BackendError(f"{ref} has an adapter, but the reference does not say where it lies (location)")
    folder = Path(ref.location)
    if (folder / "adapter_config.json").is_file():
        # A LoRA adapter may stand on a fully tuned ancestor; any LoRA ancestors are already part of this adapter.
        parent = ref.parent
        while parent is not None and parent.adapter is not None:
            found = weights_of(parent)
            if found.adapter is None:
                return Weights(found.base, found.revision, folder, ref.adapter)
            parent = parent.parent
        return Weights(resolve(ref.model), ref.revision, folder, ref.adapter)
    if (folder / "config.json").is_file():
        verify_adapter(folder, ref.adapter)
        return Weights(str(folder))
    raise BackendError(f"the weights of {ref} are not at {folder}: no adapter_config.json and no config.json there")


def pick_device() -> torch.device:
    """The accelerator if there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def pick_dtype(device: torch.device, asked: str | None = None) -> torch.dtype:
    """bfloat16 where the hardware multiplies in it, else float32 (a CPU without it is 100 times slower in bfloat16).

    Raises:
        BackendError: An unknown name.

    Example:
        >>> pick_dtype(torch.device("cpu"), "float32")
        torch.float32
    """
    if asked is not None and asked != "auto":
        if asked not in _DTYPES:
            raise BackendError(f"unknown dtype {asked!r}; expected one of auto, {', '.join(_DTYPES)}")
        return _DTYPES[asked]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type == "cpu":
        # Private names, so ask softly: a torch that has renamed them costs speed and nothing else.
        has = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
        if any(check() for check in has if check is not None):
            return torch.bfloat16
    return torch.float32


def asked_dtype(ref: ModelRef) -> str | None:
    """The precision that a reference's settings fix, if any."""
    asked = ref.settings.get("dtype")
    return None if asked is None else str(asked)


def acquire(weights: Weights, device: torch.device, dtype: torch.dtype, loading: Loading | None = None) -> Base:
    """The base of these weights, loaded now or before.

    Raises:
        BackendError: It cannot be loaded, or is not the revision that was asked for.
    """
    loading = loading or Loading()
    key = (weights.base, weights.revision or "", str(device), str(dtype), str(loading))
    with _bases_lock:
        if key not in _bases:
            while len(_bases) >= _KEPT:
                _bases.popitem(last=False)
            codec, context_length = load_codec(weights)
            model = load_model(weights, device, dtype, loading).eval().requires_grad_(False)
            entrance = model.get_input_embeddings().weight.device if loading.device_map else device
            _bases[key] = Base(
                model=model,
                codec=codec,
                context_length=context_length,
                device=entrance,
                dtype=dtype,
                sharing=find_sharing(model, entrance),
                schemas=Schemas(codec),
                seat=AdapterSeat(model, merge=dtype == torch.float32 and loading.quantize is None),
                lock=threading.Lock(),
            )
        _bases.move_to_end(key)
        return _bases[key]


def load_model(weights: Weights, device: torch.device, dtype: torch.dtype, loading: Loading | None = None) -> Any:
    """A fresh copy of the full weights; those of a GGUF file are brought back to plain numbers.

    Raises:
        BackendError: There is no such model, it is another revision, or it does not fit into memory.
    """
    library = _transformers()
    _check_revision(weights)
    options = (loading or Loading()).options(device, dtype)
    base, named = files_of(weights.base)
    if named and hasattr(library, "GgufConfig"):  # before transformers 5 plain numbers were all there was
        options.setdefault("quantization_config", library.GgufConfig(dequantize=True))
    try:
        with _quiet():
            auto = library.AutoModelForCausalLM
            model = auto.from_pretrained(base, revision=_commit(weights), dtype=dtype, **named, **options)
        model = model if "device_map" in options else model.to(device)
    except (OSError, ValueError, RuntimeError, AssertionError, ImportError) as error:
        raise refusal("the model", weights.base, error) from error
    head = model.get_output_embeddings()
    if head is not None:
        head.register_forward_pre_hook(_side_by_side)
    return model


def _side_by_side(_head: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    # A slice of positions has gaps in memory, for which torch multiplies row after row and so reads the whole
    # vocabulary once for each: a tenth of a training step of a small model.
    return (inputs[0].contiguous(), *inputs[1:])


def load_codec(weights: Weights) -> tuple[ChatCodec, int | None]:
    """Tokenizer and template of full weights, and how many tokens the model holds; the weights stay on disk.

    Raises:
        BackendError: There is no such model, or it has no chat template.
    """
    library, commit = _transformers(), _commit(weights)
    base, named = files_of(weights.base)
    tokenizer = load_tokenizer(weights)
    try:
        with _quiet():
            config = library.AutoConfig.from_pretrained(base, revision=commit, **named)
    except (OSError, ValueError, ImportError) as error:
        raise refusal("the settings of", weights.base, error) from error
    config = config.get_text_config()
    try:
        with _quiet():
            generation = config if named else library.GenerationConfig.from_pretrained(base, revision=commit)
    except (OSError, ValueError):  # not every model has one
        generation = config
    stops = generation.eos_token_id
    stops = () if stops is None else tuple(stops) if isinstance(stops, list | tuple) else (int(stops),)
    return ChatCodec(tokenizer, stops), getattr(config, "max_position_embeddings", None)


def load_tokenizer(weights: Weights) -> Any:
    """The tokenizer of full weights, with a chat template or without.

    Raises:
        BackendError: There is none.
    """
    base, named = files_of(weights.base)
    try:
        with _quiet():
            return _transformers().AutoTokenizer.from_pretrained(base, revision=_commit(weights), **named)
    except (OSError, ValueError, ImportError) as error:
        raise refusal("the tokenizer of", weights.base, error) from error


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("transformers", "local") from error
    return transformers


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars: who asks a thousand questions does not want to see weights being loaded. And no word of every
    attempt to reach the hub: if none succeeds, the error says so, once.
    """
    switch = _transformers().utils.logging
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.ERROR)
    shown = switch.is_progress_bar_enabled() if hasattr(switch, "is_progress_bar_enabled") else True
    switch.disable_progress_bar()
    try:
        yield
    finally:
        hub.setLevel(level)
        if shown:
            switch.enable_progress_bar()


def _commit(weights: Weights) -> str:
    pinned = weights.revision
    return "main" if pinned is None or pinned.startswith("sha256:") else pinned


def _check_revision(weights: Weights) -> None:
    if weights.revision is None or not weights.revision.startswith("sha256:"):
        return
    file = Path(weights.base)
    if file.suffix.lower() != ".gguf":
        file /= "model.safetensors"
    if not file.is_file():
        raise BackendError(f"the reference pins the weights by their hash, but there is no {file} to compare it with")
    with file.open("rb") as opened:
        found = "sha256:" + hashlib.file_digest(opened, "sha256").hexdigest()
    if found != weights.revision:
        raise BackendError(f"{file} is {found}, the reference names {weights.revision}: another version of the model")
