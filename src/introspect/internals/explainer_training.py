"""Teaching an explainer from questions with known answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from introspect._random import stream
from introspect.errors import TrainingError
from introspect.internals.explainer import Explainer, ExplainerSpec
from introspect.internals.questions import Question
from introspect.internals.row_table import RowTable
from introspect.internals.soft_map import SoftMap
from introspect.internals.target import Target

__all__ = ["Trained", "train_explainer"]


@dataclass(frozen=True)
class Trained:
    """A trained explainer.

    Attributes:
        explainer: It.
        losses: Mean loss of each epoch.
        seconds: CPU time.
        n_rows: Training rows.
    """

    explainer: Explainer
    losses: tuple[float, ...]
    seconds: float
    n_rows: int


def train_explainer(
    target: Target,
    table: RowTable,
    question: Question,
    spec: ExplainerSpec,
    *,
    learned: SoftMap | None = None,
    progress: Callable[[str], None] | None = None,
) -> Trained:
    """Train on a table's training rows. The target itself is never changed.

    Args:
        target: What the explainer starts from.
        table: Questions; only rows of the split "train" are used.
        question: How they are worded.
        spec: What is learned, and how.
        learned: A map to start from.
        progress: Told how it goes.

    Raises:
        TrainingError: No training rows, or a loss that is no number.

    Example:
        >>> from introspect.internals.questions import QUESTIONS
        >>> from introspect.internals.row_table import Row
        >>> from introspect.internals.tiny import tiny_target
        >>> rows = [Row(str(i), str(i), "train", {"layer": "1"}, "ab"[i % 2]) for i in range(8)]
        >>> vectors = np.array([[1.0 - 2 * (i % 2)] * 32 for i in range(8)], np.float32)
        >>> table = RowTable("planted", tuple(rows), vectors, {})
        >>> made = train_explainer(tiny_target(), table, QUESTIONS["planted"], ExplainerSpec(epochs=6, batch_size=4))
        >>> made.losses[-1] < made.losses[0]
        True
    """
    rows = table.of("train")
    if not len(rows):
        raise TrainingError("the table has no training rows")
    width = None if rows.vectors is None else rows.vectors.shape[1]
    explainer = Explainer(target, spec, width, learned)
    began = time.process_time()
    if spec.method == "untrained":
        return Trained(explainer, (), 0.0, len(rows))
    prompts = [explainer.prompt(question.text(row, spec.seed)) for row in rows.rows]
    answers = [explainer.answer_ids(question.of(row)) for row in rows.rows]
    vectors = None if rows.vectors is None else torch.from_numpy(rows.vectors)
    optimiser, schedule = _optimiser(explainer, spec, spec.epochs * -(-len(rows) // spec.batch_size))
    losses = []
    for epoch in range(spec.epochs):
        total = 0.0
        for batch in _batches([len(p.ids) for p in prompts], spec, epoch):
            part = None if vectors is None else vectors[batch]
            loss = explainer.loss([prompts[i] for i in batch], [answers[i] for i in batch], part)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(_learning(explainer), 1.0)
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(batch)
        losses.append(total / len(rows))
        if not np.isfinite(losses[-1]):
            raise TrainingError(
                f"the loss is no number in epoch {epoch + 1}; lower learning_rate ({spec.learning_rate})"
            )
        if progress is not None:
            progress(
                f"epoch {epoch + 1} of {spec.epochs}: loss {losses[-1]:.3f}, {time.process_time() - began:.0f} s CPU"
            )
    return Trained(explainer, tuple(losses), time.process_time() - began, len(rows))


def _learning(explainer: Explainer) -> list[torch.nn.Parameter]:
    weights = [p for p in explainer.target.model.parameters() if p.requires_grad]
    return weights + (list(explainer.map.parameters()) if explainer.map is not None else [])


def _optimiser(
    explainer: Explainer, spec: ExplainerSpec, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    groups = []
    if explainer.map is not None:
        groups.append({"params": list(explainer.map.parameters()), "lr": spec.learning_rate,
                       "weight_decay": spec.weight_decay})  # fmt: skip
    weights = [p for p in explainer.target.model.parameters() if p.requires_grad]
    if weights:
        groups.append({"params": weights, "lr": spec.weight_rate, "weight_decay": 0.0})
    optimiser = torch.optim.AdamW(groups)
    warm = max(1, steps // 20)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + float(np.cos(np.pi * (step - warm) / max(1, steps - warm))))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


def _batches(lengths: Sequence[int], spec: ExplainerSpec, epoch: int) -> list[list[int]]:
    """Rows of like length together, in random order."""
    rng = stream(spec.seed, "order", epoch)
    noise = rng.random(len(lengths))
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], noise[i]))
    made = [order[i : i + spec.batch_size] for i in range(0, len(order), spec.batch_size)]
    return [made[i] for i in rng.permutation(len(made))]
