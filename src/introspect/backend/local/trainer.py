"""LoRA (or full) fine-tuning of a local model, by TRL and PEFT."""

from __future__ import annotations

import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import torch
from pydantic import JsonValue

from introspect.backend.local import checkpoints
from introspect.backend.local.adapters import load_adapter, save_folder
from introspect.backend.local.bases import (
    Weights,
    acquire,
    asked_dtype,
    load_codec,
    load_model,
    pick_device,
    pick_dtype,
    weights_of,
)
from introspect.backend.local.chat import ChatCodec, TokenisedExample
from introspect.backend.local.examples import ExampleCheck, tokenise
from introspect.backend.local.launch import processes_asked, world_size
from introspect.backend.local.live import live_base
from introspect.backend.local.loading import Loading
from introspect.backend.local.lora import alpha_of, with_lora
from introspect.backend.local.memory import out_of_memory
from introspect.backend.local.outcome import finished, job_key, save_weights, tuned_from
from introspect.backend.local.randomness import own_randomness
from introspect.backend.local.schedule import rate_factor
from introspect.backend.protocol import JobRecorder, ModelBackend
from introspect.backend.training import TrainingSet, TrainingSpec
from introspect.backend.wire import ModelRef
from introspect.errors import MissingExtraError, TrainingError

__all__ = ["TransformersTrainer"]

_EXTRA: dict[str, JsonValue] = {
    "target_modules": "all-linear",
    "layers": None,
    "dropout": 0.0,
    "weight_decay": 0.0,
    "clip": 1.0,
    "together": 1,
}


class TransformersTrainer:
    """Fine-tunes on answers only, with the very tokens that the model is asked with.

    A base that wears an adapter goes on training it (rank and scale must be the same), so that a lineage of trainings
    is one adapter on one base. ``spec.extra`` knows: ``target_modules`` (names, or "all-linear"), ``layers`` (numbers
    of the layers to change, "first half" or "second half"; all by default), ``dropout``, ``weight_decay``, ``clip``
    (largest gradient norm) and ``together`` (neighbouring examples that stay in one batch; 2 for `TrialSet.mirrored`).

    A finished run is found again in its job folder. One that was killed goes on from its last checkpoint and, without
    dropout, ends at the same weights. LoRA trains on the very copy of the base that is asked, so that its weights
    are in memory once. A batch that does not fit into memory is halved, with twice the gradient accumulation, and a
    warning says so.

    Args:
        device: "cpu", "cuda", ...; the accelerator if there is one, by default.
        checkpoint_every: Seconds from one checkpoint to the next; more where writing one takes long.
        processes: Training processes, one per GPU (or, on CPUs, to try it out); they are started with
            ``accelerate launch`` and share each batch.
    """

    def __init__(
        self, *, device: str | None = None, checkpoint_every: float = 60.0, processes: int | None = None
    ) -> None:
        self._device = torch.device(device) if device else pick_device()
        self._every = checkpoint_every
        self._processes = processes_asked() if processes is None else processes
        if self._processes < 1:
            raise TrainingError(f"processes must be at least 1, got {processes}")
        self._watch: _Watch | None = None

    def watched(self, every: int, look: Callable[[int, int, ModelBackend], None]) -> TransformersTrainer:
        """The same trainer, with an eye on the model as it is trained.

        Args:
            every: Gradient steps between two looks; there is one before the first step and one after the last.
            look: Told (steps done, steps in all, the model as it is now). It must not keep the model.

        Raises:
            TrainingError: `every` is not at least 1, or training runs in several processes.
        """
        if every < 1:
            raise TrainingError(f"a look every {every} steps: expected at least 1")
        if self._processes > 1:
            raise TrainingError("a training in several processes cannot be watched; train in one, or look afterwards")
        other = TransformersTrainer(device=str(self._device), checkpoint_every=self._every, processes=1)
        other._watch = _Watch(every, look)
        return other

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
        job = job_key(base, data, spec)
        found = finished(job, jobs)
        if found is not None:
            return tuned_from(base, *found)
        weights = weights_of(base)
        codec, examples, _ = self._tokenise(weights, data)
        for left in jobs.folder.glob(".partial-*"):
            shutil.rmtree(left, ignore_errors=True)  # of an attempt that was killed
        if self._processes > 1:
            from introspect.backend.local.launch import train_in_processes

            return train_in_processes(self._processes, self._device, self._every, base, data, spec, jobs)
        began = time.monotonic()
        # transformers wants a folder, into which nothing is written here.
        with (
            own_randomness(spec.seed),
            tempfile.TemporaryDirectory(prefix="introspect-") as scratch,
            self._trainable(base, weights, spec, extra) as model,
        ):
            run = _Run(base, model, codec, examples, spec, extra, jobs, job, Path(scratch))
            losses, said = self._run(run)
            digest, folder = save_folder(jobs.folder, lambda into: save_weights(model, codec, spec, base, into))
        jobs.record(
            {
                "job": job,
                "adapter": digest,
                "folder": folder.name,
                "seconds": round(time.monotonic() - began, 3),
                "losses": losses,
                "warnings": said,
            }
        )
        checkpoints.clear(jobs.folder, job)
        return tuned_from(base, digest, folder)

    def _tokenise(self, weights: Weights, data: TrainingSet) -> tuple[ChatCodec, list[TokenisedExample], ExampleCheck]:
        codec, context_length = load_codec(weights)
        return codec, *tokenise(codec, data, context_length)

    @contextmanager
    def _trainable(self, base: ModelRef, weights: Weights, spec: TrainingSpec, extra: dict[str, Any]) -> Iterator[Any]:
        """The network with what is to be trained of it; the resident base is as it was when the block ends."""
        try:
            import peft  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("peft", "local") from error
        if spec.method == "full":
            # All weights at once need a copy of their own, and float32: in bfloat16 a small update rounds to none.
            model = load_model(weights, self._device, torch.float32)
            if weights.adapter is not None:
                model = load_adapter(model, weights.adapter).merge_and_unload()
            yield model.requires_grad_(True)
            return
        resident = acquire(
            weights, self._device, pick_dtype(self._device, asked_dtype(base)), Loading.of(base.settings)
        )
        with resident.lock:
            plain = resident.seat.wear(None, None)
            cached = plain.config.use_cache
            model = with_lora(plain, base, weights, spec, extra)
            try:
                yield model
            finally:
                model.unload().eval().requires_grad_(False)
                plain.config.use_cache = cached

    def _run(self, run: _Run) -> tuple[list[JsonValue], list[JsonValue]]:
        """Losses by step, and what should be known about how it went."""
        try:
            from datasets import Dataset
            from trl import SFTConfig

            from introspect.backend.local.sft import (
                AnswerTrainer,
                PrinterCallback,
                Watcher,
                collate,
                columns,
            )
        except ImportError as error:
            raise MissingExtraError(error.name or "trl", "local") from error
        spec, extra, model, jobs = run.spec, run.extra, run.model, run.jobs
        total = spec.steps(len(run.examples))
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=spec.learning_rate, weight_decay=extra["weight_decay"])
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: rate_factor(spec.schedule, s, total))
        together = world_size()
        if spec.batch_size % together:
            raise TrainingError(f"a batch of {spec.batch_size} cannot be shared evenly by {together} processes")
        config = SFTConfig(
            output_dir=str(run.scratch),
            per_device_train_batch_size=spec.batch_size // together,
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
            ddp_find_unused_parameters=False,
            dataloader_pin_memory=self._device.type == "cuda",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        losses: list[JsonValue] = []
        said: list[JsonValue] = []
        due = time.monotonic() + self._every
        look = self._looking(run)

        def on_halved(before: int, now: int) -> None:
            sentence = (
                f"out of memory with {before} examples at once: now {now} at once and the gradients of the whole batch "
                f"of {spec.batch_size} added up, which is the same step but slower"
            )
            said.append(sentence)
            warnings.warn(sentence, UserWarning, stacklevel=2)

        def on_step(done: int, planned: int) -> None:
            nonlocal due
            loss = trainer.last_loss
            losses.append(None if loss is None else round(loss, 5))
            jobs.progress(done, planned, loss)
            _stop_if_cancelled()
            if loss is None or not np.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss} after {done} of {planned} steps. Lower learning_rate (it is "
                    f"{spec.learning_rate:g}; try {spec.learning_rate / 4:g}){_cooler(spec, extra, model)}. "
                    f"Nothing is lost: the base is as it was, and no weights were kept of this run."
                )
            if look is not None:
                look(done, planned)
            if done < planned and (began := time.monotonic()) >= due and trainer.is_world_process_zero():
                trainer.keep(jobs.folder, run.job, {"losses": losses, "warnings": said})
                now = time.monotonic()
                due = now + max(self._every, 20 * (now - began) if self._every else 0.0)

        trainer = AnswerTrainer(
            model=model,
            args=config,
            train_dataset=Dataset.from_dict(columns(run.examples)),
            processing_class=run.codec.tokenizer,
            data_collator=collate,
            optimizers=(optimizer, scheduler),
            callbacks=[Watcher(on_step)],
        )
        trainer.on_halved, trainer.together = on_halved, extra["together"]
        trainer.remove_callback(PrinterCallback)  # progress goes to the job recorder
        checkpoint = checkpoints.latest(jobs.folder, run.job)
        if look is not None and checkpoint is None:
            look(0, total)
        if checkpoint is not None:
            before = checkpoints.told(checkpoint)
            losses += before.get("losses", [])
            said += before.get("warnings", [])
        try:
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            raise TrainingError(
                f"out of memory with {max(1, spec.batch_size // together // trainer.pieces)} example(s) at once on "
                f"{self._device}: shorten the prompts, lower lora_rank, change fewer layers (extra={{'layers': [...]}})"
                f", take a smaller model, or lower batch_size where several processes train"
            ) from error
        return losses, said

    def _looking(self, run: _Run) -> Callable[[int, int], None] | None:
        """What looks at the model at the steps that were asked for, and leaves no trace."""
        watch = self._watch
        if watch is None:
            return None
        live = live_base(run.model, run.codec, self._device)

        def look(done: int, planned: int) -> None:
            if done % watch.every and done != planned:
                return
            from introspect.backend.local.live import LiveBackend

            drawn = torch.get_rng_state()
            run.model.eval()
            try:
                watch.look(done, planned, LiveBackend(run.base, live))
            finally:
                run.model.train()
                torch.set_rng_state(drawn)

        return look


@dataclass(frozen=True)
class _Watch:
    """Who looks at the model while it is trained, and how often."""

    every: int
    look: Callable[[int, int, ModelBackend], None]


@dataclass(frozen=True)
class _Run:
    """One training, made ready."""

    base: ModelRef
    model: Any
    codec: ChatCodec
    examples: list[TokenisedExample]
    spec: TrainingSpec
    extra: dict[str, Any]
    jobs: JobRecorder
    job: str
    scratch: Path


def _cooler(spec: TrainingSpec, extra: dict[str, Any], model: Any) -> str:
    """What else than the rate may be lowered."""
    more = []
    if extra["clip"] > 1:
        more.append(f"or clip ({extra['clip']:g})")
    if spec.method == "lora" and alpha_of(spec) > 2 * spec.lora_rank:
        more.append(f"or lora_alpha ({alpha_of(spec)})")
    if getattr(model, "dtype", None) == torch.float16:
        more.append('or leave float16 (settings={"dtype": "float32"}), whose largest number is 65504')
    return (", " + ", ".join(more)) if more else ""


def _checkpointing(config: Any) -> str:
    """transformers renamed this switch and warns about its old name."""
    new = "activation_checkpointing"
    return new if new in {field.name for field in fields(config)} else "gradient_checkpointing"


def _extra(spec: TrainingSpec) -> dict[str, Any]:
    unknown = set(spec.extra) - set(_EXTRA)
    if unknown:
        raise TrainingError(
            f"unknown training settings for a transformers model: {', '.join(sorted(unknown))}. "
            f"Known: {', '.join(sorted(_EXTRA))}."
        )
    together = spec.extra.get("together", 1)
    if not isinstance(together, int) or together < 1 or spec.batch_size % together:
        raise TrainingError(
            f"together must be a whole number that divides the batch size, {spec.batch_size}; got {together!r}"
        )
    return {**_EXTRA, **spec.extra}


def _stop_if_cancelled() -> None:
    try:
        anyio.from_thread.check_cancelled()
    except RuntimeError:  # not called through the event loop, so nobody can cancel
        return
