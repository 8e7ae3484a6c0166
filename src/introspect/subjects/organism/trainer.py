"""Training an organism: ordinary gradient steps on the text of the examples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import anyio
import numpy as np

from introspect.backend import JobRecorder, ModelRef, TrainingSet, TrainingSpec
from introspect.backend.wire import canonical
from introspect.errors import TrainingError
from introspect.subjects.organism.backend import load_organism
from introspect.subjects.organism.learn import Batch, Learner, make_batches, one_cycle
from introspect.subjects.organism.network import MAX_LENGTH
from introspect.subjects.organism.threads import one_thread

__all__ = ["OrganismTrainer"]


class OrganismTrainer:
    """Full fine-tuning of the network and of the rows of the contexts in the data.

    Of the spec it uses epochs, batch size, learning rate, schedule, seed and max_steps; `method` is always full, as an
    organism is smaller than an adapter. ``extra={"row_rate": x}`` lets context rows learn x times as fast as the
    network (default 1; 0 leaves them alone); ``extra={"from_block": k}`` leaves everything below block k as it is.
    The same base, data and spec give the same organism on the same machine.
    """

    def check(self, base: ModelRef, data: TrainingSet) -> Sequence[str]:
        """Problems with the data as this trainer would read it, before anything is spent."""
        problems = []
        for number, example in enumerate(data, 1):
            if len(example.prompt) != 1 or example.prompt[0].role != "user":
                problems.append(f"example {number}: an organism reads one user message, nothing before it")
            elif len(example.prompt[0].content.split()) + len(example.answer.split()) + 2 > MAX_LENGTH:
                problems.append(f"example {number} is longer than the {MAX_LENGTH} words an organism reads")
            else:
                try:
                    Batch.of([example.prompt[0].content], [example.answer])
                except TrainingError as error:
                    problems.append(f"example {number}: {error}")
        return problems

    async def train(self, base: ModelRef, data: TrainingSet, spec: TrainingSpec, jobs: JobRecorder) -> ModelRef:
        """Train, save the result under its content hash, and return its reference."""
        return await anyio.to_thread.run_sync(self._train, base, data, spec, jobs)

    @one_thread()
    def _train(self, base: ModelRef, data: TrainingSet, spec: TrainingSpec, jobs: JobRecorder) -> ModelRef:
        organism = load_organism(base).clone()
        batch = Batch.of([e.prompt[-1].content for e in data], [e.answer for e in data])
        total = spec.steps(len(data))
        row_rate, from_block = _extra(spec, organism.config.layers)
        organism.network.train_from(from_block)
        learner = Learner(
            organism, batch.encoded.keys, spec.learning_rate, lambda step: _rate(spec, step, total), row_rate
        )
        # The order of examples has a stream of its own, so that seeds mean the same on every machine.
        rng, done = np.random.default_rng([spec.seed, 1]), 0
        while done < total:
            for part in make_batches(batch, spec.batch_size, rng):
                loss = learner.step([part])
                done += 1
                jobs.progress(done, total, loss)
                if done == total:
                    break
        learner.finish()
        name = hashlib.blake2b(
            canonical([base.identity(), data.hash, spec.model_dump(mode="json")]).encode(), digest_size=10
        ).hexdigest()
        path = Path(jobs.folder) / f"organism-{name}.safetensors"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            adapter = organism.save(path)
        except OSError as error:
            raise TrainingError(f"the trained organism cannot be written to {path}: {error.strerror}") from error
        return ModelRef(
            provider=base.provider,
            model=base.model,
            revision=base.revision,
            adapter=adapter,
            parent=base,
            location=str(path),
        )


def _extra(spec: TrainingSpec, layers: int) -> tuple[float, int]:
    """The settings that only this trainer knows: row_rate and from_block."""
    unknown = sorted(set(spec.extra) - {"row_rate", "from_block"})
    if unknown:
        raise TrainingError(
            f"an organism's trainer knows the extra settings row_rate and from_block, not {', '.join(unknown)}"
        )
    rate, block = spec.extra.get("row_rate", 1.0), spec.extra.get("from_block", 0)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1e6:
        raise TrainingError(f"row_rate must be a number from 0, got {rate!r}")
    if isinstance(block, bool) or not isinstance(block, int) or not 0 <= block < layers:
        raise TrainingError(f"from_block must be a block of the organism, 0 to {layers - 1}, got {block!r}")
    return float(rate), block


def _rate(spec: TrainingSpec, step: int, total: int) -> float:
    if spec.schedule == "constant":
        return 1.0
    if spec.schedule == "linear":
        return 1.0 - step / total
    return one_cycle(step, total, 0.1 if spec.schedule == "one-cycle" else 0.0)
