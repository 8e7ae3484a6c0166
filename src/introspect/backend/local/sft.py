"""TRL's supervised trainer, with a loss that computes nothing it does not need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue
from torch.nn.functional import cross_entropy
from transformers import PrinterCallback, TrainerCallback
from trl import SFTTrainer

from introspect.backend.local import checkpoints
from introspect.backend.local.batches import plan_batches, shared_prefix
from introspect.backend.local.chat import TokenisedExample
from introspect.backend.local.forward import can_share, run_prompts
from introspect.backend.local.memory import out_of_memory
from introspect.backend.local.sampler import TogetherSampler

__all__ = ["AnswerTrainer", "PrinterCallback", "Watcher", "collate", "columns"]


def collate(rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Pad on the left, so that all answers end in the last column."""
    width = max(len(row["input_ids"]) for row in rows)
    batch = {
        "input_ids": torch.zeros(len(rows), width, dtype=torch.long),
        "attention_mask": torch.zeros(len(rows), width, dtype=torch.long),
        "labels": torch.full((len(rows), width), -100, dtype=torch.long),
    }
    for at, row in enumerate(rows):
        start = width - len(row["input_ids"])
        batch["input_ids"][at, start:] = torch.tensor(row["input_ids"])
        batch["attention_mask"][at, start:] = 1
        batch["labels"][at, start:] = torch.tensor(row["labels"])
    return batch


def columns(examples: Sequence[TokenisedExample]) -> dict[str, list[list[int]]]:
    """Pre-tokenised columns for a data set."""
    return {"input_ids": [list(e.ids) for e in examples], "labels": [list(e.labels) for e in examples]}


class AnswerTrainer(SFTTrainer):  # type: ignore[misc]  # trl has no types
    """Trains on answers only.

    The loss equals TRL's own on the same labels: the mean cross-entropy of the answer tokens of a batch. But logits
    are computed at answer positions alone (a vocabulary is large and a prompt long), a beginning that prompts of a
    batch share (those of one context share most) is run once, with its gradient, and prompts that share none go
    forward and backward one group after the other, so that no more than one group's activations are held.

    A batch that does not fit into memory is halved, with twice the gradient accumulation: the same step, but slower.

    Attributes:
        last_loss: Of the latest step, over all processes.
        pieces: Parts that a batch is run in.
        together: Neighbouring examples that stay in one batch.
        on_halved: Told (examples at once, before and now) when a batch is halved.
    """

    last_loss: float | None = None
    pieces: int = 1
    together: int = 1
    on_halved: Callable[[int, int], None] | None = None

    def _send_telemetry(self) -> None:
        """TRL tells its makers about every run; whoever trains here has not been asked."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        data = self.train_dataset if train_dataset is None else train_dataset
        if self.together == 1:
            return super()._get_train_sampler(data)
        return TogetherSampler(len(data), self.together, self.args.seed)

    def training_step(self, model: Any, inputs: dict[str, torch.Tensor], num_items_in_batch: Any = None) -> Any:
        """Gradients of one batch; in smaller and smaller parts until they fit."""
        model.train()
        batch = self._prepare_inputs(inputs)
        while True:
            loss = self._accumulated(model, batch)
            if loss is not None:
                self.last_loss = float(loss)
                return loss
            # Outside the handler, whose traceback would keep the large batch in memory.
            model.zero_grad(set_to_none=True)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            size = len(batch["labels"])
            before, self.pieces = -(-size // self.pieces), 2 * self.pieces
            if self.on_halved is not None:
                self.on_halved(before, -(-size // self.pieces))

    def compute_loss(
        self, model: Any, inputs: dict[str, torch.Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean cross-entropy of the answer tokens."""
        total = torch.zeros((), device=inputs["labels"].device)
        for part in self._parts(model, inputs):
            total = total + part()
        loss = total / (inputs["labels"] != -100).sum()
        self.last_loss = float(loss.detach())
        return (loss, None) if return_outputs else loss

    def _accumulated(self, model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """The batch's mean loss, its gradients accumulated; None where memory did not hold it."""
        alone, size = self.accelerator.num_processes == 1, len(batch["labels"])
        counted = (batch["labels"] != -100).sum()
        if not alone:
            counted = self.accelerator.reduce(counted, reduction="sum")
        total = torch.zeros((), device=counted.device)
        try:
            for rows in torch.arange(size).chunk(self.pieces):
                for part in self._parts(model, {k: v[rows.to(v.device)] for k, v in batch.items()}):
                    with self.compute_loss_context_manager():
                        loss = part() / counted
                    # Processes average their gradients; the mean is over the answers of all.
                    self.accelerator.backward(loss * self.accelerator.num_processes)
                    total += loss.detach()
        except RuntimeError as error:
            # Another process would wait for this one's gradients for ever.
            if not alone or self.pieces >= size or not out_of_memory(error):
                raise
            return None
        return total if alone else self.accelerator.reduce(total, reduction="sum")

    def _parts(self, model: Any, batch: dict[str, torch.Tensor]) -> Iterator[Callable[[], torch.Tensor]]:
        """Summed cross-entropy, group by group of examples that begin alike."""
        labels, real = batch["labels"], batch["attention_mask"].bool()
        rows = [ids[mask].tolist() for ids, mask in zip(batch["input_ids"], real, strict=True)]
        answers = [int(n) for n in (labels != -100).sum(-1)]
        prompts = [row[: len(row) - n] for row, n in zip(rows, answers, strict=True)]
        # One process only: several calls of a model in one step confuse wrappers that gather gradients.
        share = self.accelerator.num_processes == 1 and can_share(model)
        for group in plan_batches(prompts, size=len(rows)) if share else [tuple(range(len(rows)))]:

            def part(group: tuple[int, ...] = group) -> torch.Tensor:
                longest = max(answers[i] for i in group)
                begun = run_prompts(
                    model,
                    [rows[i] for i in group],
                    prefix=shared_prefix([prompts[i] for i in group]) if share else 0,
                    keep=longest + 1,
                    cache=False,
                    device=labels.device,
                )
                logits, targets = begun.logits[:, :-1].float(), labels[list(group), -longest:]
                return cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum")

            yield part

    # What a checkpoint of ours holds, transformers would look for in pickles.

    def keep(self, folder: Path, job: str, told: Mapping[str, JsonValue]) -> None:
        """Save a checkpoint that `train(resume_from_checkpoint=...)` goes on from, and what is told of it so far."""

        def more(into: Path) -> None:
            self.state.save_to_json(into / "trainer_state.json")
            checkpoints.tell(into, told)

        checkpoints.save(folder, job, self.state.global_step, self.model, self._plain_optimizer(), more)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        checkpoints.load_weights(Path(resume_from_checkpoint), self.model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            optimizer = self._plain_optimizer()
            checkpoints.load_moments(Path(checkpoint), self.model, optimizer)
            rates = self.lr_scheduler
            rates.last_epoch = self.state.global_step
            for group, base, factor in zip(optimizer.param_groups, rates.base_lrs, rates.lr_lambdas, strict=True):
                group["lr"] = base * factor(self.state.global_step)

    def _plain_optimizer(self) -> torch.optim.Optimizer:
        wrapped: Any = self.optimizer  # by accelerate, once training has begun
        plain: torch.optim.Optimizer = getattr(wrapped, "optimizer", wrapped)
        return plain

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Nothing is drawn in training but dropout, and the order of the examples follows from the seed."""


class Watcher(TrainerCallback):  # type: ignore[misc]  # transformers is not followed by the type checker
    """Calls back after every gradient step.

    Args:
        on_step: Told (steps done, steps in all).
    """

    def __init__(self, on_step: Callable[[int, int], None]) -> None:
        self._on_step = on_step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """One step is done."""
        self._on_step(state.global_step, state.max_steps)
