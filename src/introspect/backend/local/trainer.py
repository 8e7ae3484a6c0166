"""LoRA (or full) fine-tuning of a local model, by TRL and PEFT."""

from __future__ import annotations

import hashlib
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import torch
from pydantic import JsonValue

from introspect.backend.local import checkpoints
from introspect.backend.local.adapters import folder_hash, save_folder
from introspect.backend.local.bases import (
    Weights,
    asked_dtype,
    load_codec,
    load_model,
    pick_device,
    pick_dtype,
    weights_of,
)
from introspect.backend.local.chat import ChatCodec, TokenisedExample
from introspect.backend.local.examples import ExampleCheck, tokenise
from introspect.backend.local.schedule import rate_factor
from introspect.backend.protocol import JobRecorder
from introspect.backend.training import TrainingSet, TrainingSpec
from introspect.backend.wire import ModelRef, canonical
from introspect.errors import MissingExtraError, TrainingError

__all__ = ["TRAINER_VERSION", "TransformersTrainer"]

TRAINER_VERSION = 1  # raised by hand when the same inputs would train another model

_EXTRA: dict[str, JsonValue] = {
    "target_modules": "all-linear",
    "layers": None,
    "dropout": 0.0,
    "weight_decay": 0.0,
    "clip": 1.0,
}


class TransformersTrainer:
    """Fine-tunes on answers only, with the very tokens that the model is asked with.

    A base that wears an adapter goes on training it (rank and scale must be the same), so that a lineage of trainings
    is one adapter on one base. ``spec.extra`` knows: ``target_modules`` (names, or "all-linear"), ``layers`` (numbers
    of the layers to change; all by default), ``dropout``, ``weight_decay`` and ``clip`` (largest gradient norm).

    A finished run is found again in its job folder. One that was killed goes on from its last checkpoint and, without
    dropout, ends at the same weights.

    Args:
        device: "cpu", "cuda", ...; the accelerator if there is one, by default.
        checkpoint_every: Seconds from one checkpoint to the next; more where writing one takes long.
    """

    def __init__(self, *, device: str | None = None, checkpoint_every: float = 60.0) -> None:
        self._device = torch.device(device) if device else pick_device()
        self._every = checkpoint_every

    def check(self, base: ModelRef, data: TrainingSet) -> ExampleCheck:
        """Whether every example trains what will be asked: same prompt tokens, loss on the answer, nothing cut off.

        Raises:
            TrainingError: It does not; the message names the example.
            BackendError: The base cannot be found.
        """
        return self._tokenise(weights_of(base), data)[2]

    async def train(self, base: ModelRef, data: TrainingSet, spec: TrainingSpec, jobs: JobRecorder) -> ModelRef:
        """Train in a worker thread. Cancelling stops after the step that is under way.

        Returns:
            The tuned model. Its weights lie in ``jobs.folder``, in a folder named by their hash.

        Raises:
            TrainingError: The examples or the settings are not usable, or the loss is no longer finite.
            BackendError: The base cannot be loaded.
            MissingExtraError: The extra ``local`` is not installed.
        """
        return await anyio.to_thread.run_sync(self._train, base, data, spec, jobs)

    def _train(self, base: ModelRef, data: TrainingSet, spec: TrainingSpec, jobs: JobRecorder) -> ModelRef:
        extra = _extra(spec)
        job = _job_key(base, data, spec)
        found = _finished(job, jobs)
        if found is not None:
            return _tuned(base, *found)
        weights = weights_of(base)
        codec, examples, _ = self._tokenise(weights, data)
        for left in jobs.folder.glob(".partial-*"):
            shutil.rmtree(left, ignore_errors=True)  # of an attempt that was killed
        # transformers wants a folder, into which nothing is written here.
        with _own_randomness(spec.seed), tempfile.TemporaryDirectory(prefix="introspect-") as scratch:
            model = self._model(base, weights, spec, extra)
            began = time.monotonic()
            losses = self._run(model, codec, examples, spec, extra, jobs, job, Path(scratch))
            seconds = time.monotonic() - began
            digest, folder = save_folder(jobs.folder, lambda into: _save(model, codec, spec, base, into))
        jobs.record(
            {"job": job, "adapter": digest, "folder": folder.name, "seconds": round(seconds, 3), "losses": losses}
        )
        checkpoints.clear(jobs.folder, job)
        return _tuned(base, digest, folder)

    def _tokenise(self, weights: Weights, data: TrainingSet) -> tuple[ChatCodec, list[TokenisedExample], ExampleCheck]:
        codec, context_length = load_codec(weights)
        return codec, *tokenise(codec, data, context_length)

    def _model(self, base: ModelRef, weights: Weights, spec: TrainingSpec, extra: dict[str, Any]) -> Any:
        try:
            from peft import LoraConfig, PeftModel, get_peft_model
        except ImportError as error:
            raise MissingExtraError("peft", "local") from error
        # All weights at once need float32: in bfloat16 a small update rounds to none.
        dtype = torch.float32 if spec.method == "full" else pick_dtype(self._device, asked_dtype(base))
        model = load_model(weights, self._device, dtype)
        if weights.adapter is not None:
            model = PeftModel.from_pretrained(model, str(weights.adapter), is_trainable=spec.method == "lora")
            if spec.method == "full":
                return model.merge_and_unload().requires_grad_(True)
            worn = model.active_peft_config
            if (worn.r, worn.lora_alpha) != (spec.lora_rank, _alpha(spec)):
                raise TrainingError(
                    f"{base} wears an adapter of rank {worn.r} and alpha {worn.lora_alpha}, which this training would "
                    f"go on with; the settings ask for rank {spec.lora_rank} and alpha {_alpha(spec)}. "
                    f"Use the same in all trainings of a lineage."
                )
            return model
        if spec.method == "full":
            return model.requires_grad_(True)
        config = LoraConfig(
            r=spec.lora_rank,
            lora_alpha=_alpha(spec),
            lora_dropout=extra["dropout"],
            target_modules=_targets(model, extra),
            layers_to_transform=extra["layers"],
            task_type="CAUSAL_LM",
        )
        try:
            return get_peft_model(model, config)
        except ValueError as error:
            raise TrainingError(f"LoRA cannot be put on {base}: {error}") from error

    def _run(
        self,
        model: Any,
        codec: ChatCodec,
        examples: list[TokenisedExample],
        spec: TrainingSpec,
        extra: dict[str, Any],
        jobs: JobRecorder,
        job: str,
        scratch: Path,
    ) -> list[JsonValue]:
        try:
            from datasets import Dataset
            from trl import SFTConfig

            from introspect.backend.local.sft import AnswerTrainer, PrinterCallback, Watcher, collate, columns
        except ImportError as error:
            raise MissingExtraError(error.name or "trl", "local") from error
        total = spec.steps(len(examples))
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=spec.learning_rate, weight_decay=extra["weight_decay"])
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: rate_factor(spec.schedule, s, total))
        config = SFTConfig(
            output_dir=str(scratch),
            per_device_train_batch_size=spec.batch_size,
            num_train_epochs=spec.epochs,
            max_steps=spec.max_steps or -1,
            max_grad_norm=extra["clip"],
            seed=spec.seed % 2**32,
            # TRL's defaults: checkpointed activations trade a third of the speed for memory, and bfloat16 autocast is
            # slow where the hardware cannot do it. The weights already have the type to compute in.
            **{_checkpointing(SFTConfig): False},
            bf16=spec.method == "full" and self._device.type == "cuda" and torch.cuda.is_bf16_supported(),
            fp16=False,
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
            use_cpu=self._device.type == "cpu",
            dataloader_pin_memory=self._device.type == "cuda",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        losses: list[JsonValue] = []
        due = time.monotonic() + self._every

        def on_step(done: int, planned: int) -> None:
            nonlocal due
            loss = trainer.last_loss
            losses.append(None if loss is None else round(loss, 5))
            jobs.progress(done, planned, loss)
            _stop_if_cancelled()
            if loss is None or not np.isfinite(loss):
                raise TrainingError(f"the loss is {loss} after {done} steps; lower the rate {spec.learning_rate:g}")
            if done < planned and (began := time.monotonic()) >= due:
                trainer.keep(jobs.folder, job)
                now = time.monotonic()
                due = now + max(self._every, 20 * (now - began) if self._every else 0.0)

        trainer = AnswerTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_dict(columns(examples)),
            processing_class=codec.tokenizer,
            data_collator=collate,
            optimizers=(optimizer, scheduler),
            callbacks=[Watcher(on_step)],
        )
        trainer.remove_callback(PrinterCallback)  # progress goes to the job recorder
        checkpoint = checkpoints.latest(jobs.folder, job)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        return losses


def _checkpointing(config: Any) -> str:
    """transformers renamed this switch and warns about its old name."""
    new = "activation_checkpointing"
    return new if new in {field.name for field in fields(config)} else "gradient_checkpointing"


def _alpha(spec: TrainingSpec) -> int:
    return 2 * spec.lora_rank if spec.lora_alpha is None else spec.lora_alpha


def _targets(model: Any, extra: dict[str, Any]) -> Any:
    """PEFT takes "all-linear" only for all layers, so for some the names are spelled out."""
    if extra["target_modules"] != "all-linear" or extra["layers"] is None:
        return extra["target_modules"]
    head = model.get_output_embeddings()
    linear = (n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head)
    return sorted({name.rpartition(".")[2] for name in linear})


def _extra(spec: TrainingSpec) -> dict[str, Any]:
    unknown = set(spec.extra) - set(_EXTRA)
    if unknown:
        raise TrainingError(
            f"unknown training settings for a transformers model: {', '.join(sorted(unknown))}. "
            f"Known: {', '.join(sorted(_EXTRA))}."
        )
    return {**_EXTRA, **spec.extra}


def _job_key(base: ModelRef, data: TrainingSet, spec: TrainingSpec) -> str:
    what = {"base": base.identity(), "data": data.hash, "spec": spec.model_dump(mode="json"), "v": TRAINER_VERSION}
    return hashlib.sha256(canonical(what).encode()).hexdigest()


def _finished(job: str, jobs: JobRecorder) -> tuple[str, Path] | None:
    """The result of an earlier run of this very job, if it is still whole."""
    state = jobs.recall()
    digest, name = state.get("adapter"), state.get("folder")
    if state.get("job") != job or not isinstance(digest, str) or not isinstance(name, str):
        return None
    folder = jobs.folder / name
    return (digest, folder) if folder.is_dir() and folder_hash(folder) == digest else None


def _tuned(base: ModelRef, digest: str, folder: Path) -> ModelRef:
    return base.model_copy(update={"adapter": digest, "parent": base, "location": str(folder.absolute())})


def _save(model: Any, codec: ChatCodec, spec: TrainingSpec, base: ModelRef, folder: Path) -> None:
    if spec.method == "full":
        model.save_pretrained(folder)
        codec.tokenizer.save_pretrained(folder)
        return
    # The base by name: a path would make the adapter's hash depend on where the base happens to lie.
    model.active_peft_config.base_model_name_or_path = base.model
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


def _stop_if_cancelled() -> None:
    try:
        anyio.from_thread.check_cancelled()
    except RuntimeError:  # not called through the event loop, so nobody can cancel
        return


@contextmanager
def _own_randomness(seed: int) -> Iterator[None]:
    """PEFT and transformers seed the global generators; the user's own come out of it as they were."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
