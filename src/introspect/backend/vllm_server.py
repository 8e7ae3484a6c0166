"""The provider "vllm": trained here, and asked on a vLLM server that is given each adapter as it is needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from introspect.backend.openai.backend import OpenAIBackend
from introspect.backend.openai.discovery import discover, load_lora
from introspect.backend.openai.once import Once
from introspect.backend.protocol import JobRecorder, ModelBackend, Trainer
from introspect.backend.registry import Provider
from introspect.backend.training import TrainingSet, TrainingSpec
from introspect.backend.wire import ModelInfo, ModelRef
from introspect.errors import BackendError, CapabilityError, MissingExtraError, TrainingError

if TYPE_CHECKING:
    from introspect.backend.local.trainer import TransformersTrainer

__all__ = ["PROVIDER", "VARIABLE", "VllmBackend", "VllmTrainer"]

VARIABLE = "INTROSPECT_VLLM_URL"
"""Environment variable with the server's address: what a model runs on is no part of what it is."""

_TRAINS = "transformers"


class VllmBackend(OpenAIBackend):
    """Asks a model, or an adapter on it that was trained here, on a running vLLM server.

    The server is `vllm serve MODEL --enable-lora --max-lora-rank RANK --max-logprobs 20`, started with
    ``VLLM_ALLOW_RUNTIME_LORA_UPDATING=1``, and serves the base under the name that the reference gives it
    (``--served-model-name``, where that is another). An adapter is loaded under a name made of its hash before it is
    first asked, so that it is never taken for another; the server reads it where it lies, so both must see its folder
    under one path. vLLM itself lets go of adapters that were not asked for a while.

    Args:
        ref: Base, with or without an adapter of `VllmTrainer`.

    Raises:
        BackendError: No server is named, or the adapter's files are not those that the reference names.
    """

    def __init__(self, ref: ModelRef) -> None:
        address = os.environ.get(VARIABLE)
        if not address:
            raise BackendError(
                f"{ref} is asked on a vLLM server: start one (`vllm serve {ref.model} --enable-lora`, with "
                f"VLLM_ALLOW_RUNTIME_LORA_UPDATING=1) and give its address, http://localhost:8000/v1, in {VARIABLE}, "
                "or to a sweep under resources: {vllm: ...}"
            )
        self._folder = None if ref.adapter is None else _adapter_of(ref)
        self._loaded = Once(self._load)
        name = None if ref.adapter is None else f"introspect-{ref.adapter[:32]}"
        super().__init__(ModelRef(provider="openai", model=ref.model, adapter=name, location=address))
        self._info = ModelInfo(ref=ref)

    async def _meet(self) -> None:
        """Before anything is asked: find out what kind of server it is, and give it the adapter.

        Raises:
            CapabilityError: It does not take the adapter.
        """
        await super()._meet()
        await self._loaded.get()

    async def _load(self) -> bool:
        if self._folder is None or await self._served():
            return True
        try:
            await load_lora(self.address, self.model, str(self._folder), self._key)
        except CapabilityError:
            # Another process may have been quicker: workers of a sweep share the server.
            if not await self._served():
                raise
        return True

    async def _served(self) -> bool:
        return self.model in (await discover(self.address, self._key)).models


class VllmTrainer:
    """Trains LoRA adapters as the provider "transformers" does, which vLLM then serves.

    The training is known by the same key as there: what was trained for the one is found for the other.
    """

    def check(self, base: ModelRef, data: TrainingSet) -> object:
        """Whether every example trains what will be asked; see `TransformersTrainer.check`."""
        return _trainer_here().check(_renamed(base, _TRAINS), data)

    async def train(self, base: ModelRef, data: TrainingSet, spec: TrainingSpec, jobs: JobRecorder) -> ModelRef:
        """Train on this machine.

        Raises:
            TrainingError: Other than LoRA: a running server takes adapters and no other weights.
            BackendError: The base cannot be loaded.
            MissingExtraError: The extra ``local`` is not installed.
        """
        if spec.method != "lora":
            raise TrainingError(
                f"a vLLM server is given adapters while it runs, and no whole weights: method must be 'lora', got "
                f"{spec.method!r}. Train with the provider 'transformers', save the model merged and serve that"
            )
        return _renamed(await _trainer_here().train(_renamed(base, _TRAINS), data, spec, jobs), "vllm")


def _adapter_of(ref: ModelRef) -> Path:
    from introspect.backend.local.adapters import verify_adapter

    assert ref.adapter is not None
    folder = Path(ref.location or "")
    if ref.location is None or not (folder / "adapter_config.json").is_file():
        raise BackendError(f"the adapter of {ref} is not at {ref.location}: no adapter_config.json there")
    verify_adapter(folder, ref.adapter)
    return folder.absolute()


def _renamed(ref: ModelRef, provider: str) -> ModelRef:
    """The same lineage under another provider's name."""
    parent = None if ref.parent is None else _renamed(ref.parent, provider)
    return ref.model_copy(update={"provider": provider, "parent": parent})


def _trainer_here() -> TransformersTrainer:
    try:
        from introspect.backend.local.trainer import TransformersTrainer
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "local") from error
    return TransformersTrainer()


def _open(ref: ModelRef) -> ModelBackend:
    return VllmBackend(ref)


def _trainer() -> Trainer:
    return VllmTrainer()


PROVIDER = Provider(open=_open, trainer=_trainer, hosted=True)
