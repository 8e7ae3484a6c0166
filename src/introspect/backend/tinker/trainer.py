"""LoRA training on Tinker's machines."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from introspect._random import stream
from introspect.backend.local.chat import ChatCodec, TokenisedExample
from introspect.backend.local.examples import ExampleCheck, tokenise
from introspect.backend.local.schedule import rate_factor
from introspect.backend.protocol import JobRecorder
from introspect.backend.tinker.service import connect, sdk, sort_error
from introspect.backend.training import TrainingSet, TrainingSpec
from introspect.backend.wire import ModelRef, canonical
from introspect.errors import FatalBackendError, TrainingError

__all__ = ["TinkerTrainer"]

_EXTRA: dict[str, Any] = {
    "train_mlp": True,
    "train_attn": True,
    "train_unembed": False,
    "weight_decay": 0.0,
    "clip": 1.0,
}
_VERSION = 1


class TinkerTrainer:
    """Trains LoRA on choices or reports, the loss on the answer alone. Experimental.

    Examples are tokenised here, by the code that asks, and checked before the first step. A finished training is found
    again; one that was killed goes on from the last state that the service saved.

    Args:
        service: A client of the SDK; by default one is made with the key of the environment.
        save_every: Steps from one saved state to the next.
    """

    def __init__(self, *, service: Any = None, save_every: int = 50) -> None:
        self._given = service
        self._every = save_every

    async def train(self, base: ModelRef, data: TrainingSet, spec: TrainingSpec, jobs: JobRecorder) -> ModelRef:
        """Train.

        Returns:
            The tuned model: ``adapter`` is the path of its sampler weights, ``location`` that of the state which a
            later training goes on from.

        Raises:
            TrainingError: The examples or settings are not usable, or the loss is no longer finite.
            FatalBackendError: The service refuses, or there is no key.
            MissingExtraError: The extra ``tinker`` is not installed.
        """
        extra, job = _extra(spec), _job_key(base, data, spec)
        known = jobs.recall() if jobs.recall().get("job") == job else {}
        if isinstance(known.get("sampler"), str):
            return _tuned(base, str(known["sampler"]), str(known["state"]))
        service = connect() if self._given is None else self._given
        try:
            return await self._train(service, base, data, spec, extra, job, known, jobs)
        except (TrainingError, FatalBackendError):
            raise
        except Exception as error:  # the SDK raises many kinds; what is recorded lets the next attempt go on
            sorted_out = sort_error(error)
            if isinstance(sorted_out, FatalBackendError):
                raise sorted_out from error
            raise TrainingError(f"training on Tinker stopped ({sorted_out.kind}): {error}; run it again") from error

    async def _train(
        self,
        service: Any,
        base: ModelRef,
        data: TrainingSet,
        spec: TrainingSpec,
        extra: dict[str, Any],
        job: str,
        known: dict[str, Any],
        jobs: JobRecorder,
    ) -> ModelRef:
        types = sdk().types
        done = int(known.get("step", 0))
        if done:
            client = await service.create_training_client_from_state_with_optimizer(known["state"])
        elif base.adapter is not None:
            if base.location is None:
                raise TrainingError(f"{base} does not say where its training state lies (location)")
            client = await service.create_training_client_from_state(base.location)
        else:
            parts = {name: bool(extra[name]) for name in ("train_mlp", "train_attn", "train_unembed")}
            client = await service.create_lora_training_client(
                base_model=base.model, rank=spec.lora_rank, seed=spec.seed, **parts
            )
        examples, _ = _tokens(client.get_tokenizer(), data)
        total = spec.steps(len(examples))
        for step, batch in enumerate(_batches(len(examples), spec, total)):
            if step < done:
                continue
            chosen = [examples[i] for i in batch]
            adam = types.AdamParams(
                learning_rate=spec.learning_rate * rate_factor(spec.schedule, step, total),
                weight_decay=float(extra["weight_decay"]),
                grad_clip_norm=float(extra["clip"]),
            )
            # Both are sent before either is waited for: the service runs them back to back.
            gradient = client.forward_backward([_datum(types, e, chosen) for e in chosen], "cross_entropy")
            update = client.optim_step(adam)
            loss = _loss(await gradient, chosen)
            await update
            jobs.progress(step + 1, total, loss)
            if not math.isfinite(loss):
                raise TrainingError(f"the loss is {loss} after {step + 1} steps; lower the rate {spec.learning_rate:g}")
            if (step + 1) % self._every == 0 and step + 1 < total:
                saved = await client.save_state(f"{job[:16]}-{step + 1:06d}")
                jobs.record({"job": job, "step": step + 1, "state": saved.path})
        state = (await client.save_state(f"{job[:16]}-state")).path
        sampler = (await client.save_weights_for_sampler(f"{job[:16]}-sampler")).path
        jobs.record({"job": job, "step": total, "state": state, "sampler": sampler})
        return _tuned(base, sampler, state)


def _tokens(tokenizer: Any, data: TrainingSet) -> tuple[list[TokenisedExample], ExampleCheck]:
    return tokenise(ChatCodec(tokenizer), data, None)


def _batches(n: int, spec: TrainingSpec, total: int) -> list[list[int]]:
    """Places of examples for each step; every epoch is an order of its own."""
    found: list[list[int]] = []
    for epoch in range(spec.epochs):
        order = stream(spec.seed, "tinker", str(epoch)).permutation(n).tolist()
        found += [order[k : k + spec.batch_size] for k in range(0, n, spec.batch_size)]
    return found[:total]


def _datum(types: Any, example: TokenisedExample, batch: Sequence[TokenisedExample]) -> Any:
    """Inputs, and targets shifted by one. The service adds losses up; weights make that the mean over answer tokens."""
    share = 1.0 / sum(len(e.answer) for e in batch)
    weights = np.zeros(len(example.ids) - 1, np.float32)
    weights[len(example.prompt) - 1 :] = share
    return types.Datum(
        model_input=types.ModelInput.from_ints(list(example.ids[:-1])),
        loss_fn_inputs={"target_tokens": np.array(example.ids[1:], np.int64), "weights": weights},
    )


def _loss(output: Any, batch: Sequence[TokenisedExample]) -> float:
    """Mean negative log-probability of the answers' tokens, from what came back for each example."""
    logprobs = [
        np.asarray(found["logprobs"].to_numpy())[len(example.prompt) - 1 :]
        for found, example in zip(output.loss_fn_outputs, batch, strict=True)
    ]
    return float(-np.concatenate(logprobs).mean())


def _extra(spec: TrainingSpec) -> dict[str, Any]:
    unknown = set(spec.extra) - set(_EXTRA)
    if unknown:
        raise TrainingError(
            f"unknown training settings for Tinker: {', '.join(sorted(unknown))}. Known: {', '.join(sorted(_EXTRA))}."
        )
    if spec.method != "lora":
        raise TrainingError(f"Tinker trains LoRA only, got method={spec.method!r}")
    if spec.lora_alpha is not None:
        raise TrainingError("Tinker chooses the scale of LoRA itself; leave lora_alpha out")
    return {**_EXTRA, **spec.extra}


def _job_key(base: ModelRef, data: TrainingSet, spec: TrainingSpec) -> str:
    what = {"base": base.identity(), "data": data.hash, "spec": spec.model_dump(mode="json"), "v": _VERSION}
    return hashlib.sha256(canonical(what).encode()).hexdigest()


def _tuned(base: ModelRef, sampler: str, state: str) -> ModelRef:
    return base.model_copy(update={"adapter": sampler, "parent": base, "location": state})
