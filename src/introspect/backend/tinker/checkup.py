"""A short real run of everything that the Tinker provider does: what to try first with a key."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from introspect.backend.jobs import FolderJobs
from introspect.backend.tinker.backend import TinkerBackend
from introspect.backend.tinker.service import connect
from introspect.backend.tinker.trainer import TinkerTrainer
from introspect.backend.training import TrainingExample, TrainingSet, TrainingSpec
from introspect.backend.wire import Message, ModelRef, Reply, Request
from introspect.errors import IntrospectError

__all__ = ["Step", "check_up"]

_STEPS = 6


class Step(NamedTuple):
    """One thing that was tried.

    Attributes:
        name: What.
        works: Whether it did.
        detail: What was seen.
    """

    name: str
    works: bool
    detail: str


async def check_up(
    model: str | None = None, service: Any = None, say: Callable[[Step], None] | None = None
) -> list[Step]:
    """List models, ask one, train it for a few steps to answer B, and ask again. Costs a few thousand tokens.

    Args:
        model: Name of a base; by default the first one that can be trained and sampled.
        service: A client of the SDK; by default one is made with the key of the environment.
        say: Told each step as it is done.

    Returns:
        The steps, up to the first that did not work.

    Raises:
        FatalBackendError: There is no key.
        MissingExtraError: The extra ``tinker`` is not installed.
    """
    service = connect() if service is None else service
    steps: list[Step] = []

    def seen(name: str, works: bool, detail: str) -> bool:
        steps.append(Step(name, works, detail))
        if say is not None:
            say(steps[-1])
        return works

    try:
        if model is None:
            offered = (await service.get_server_capabilities_async()).supported_models
            names = [m.model_name for m in offered if m.model_name and m.trainable is not False]
            if not seen("models", bool(names), f"{len(names)} can be trained: {', '.join(names[:4])}"):
                return steps
            model = names[0]
        base = ModelRef(provider="tinker", model=model)
        question = Request(
            messages=(Message(role="user", content="Which one? Reply with one letter, A or B."),),
            answers=("A", "B"),
            max_tokens=4,
        )
        before = await _ask(TinkerBackend(base, service=service), question)
        shown = before.answer_logprobs or {}
        told = f"{model} answers {before.text!r}, log-probabilities {_numbers(shown)}"
        if not seen("sampling", before.status != "failed", told if before.reason is None else before.reason):
            return steps
        seen("log-probabilities", bool(shown), _numbers(shown) if shown else "none came back")
        losses: list[float] = []
        example = TrainingExample(messages=(*question.messages, Message(role="assistant", content="B")))
        with tempfile.TemporaryDirectory() as folder:
            jobs = FolderJobs(Path(folder), on_progress=lambda _done, _total, loss: losses.append(loss or 0.0))
            spec = TrainingSpec(
                epochs=_STEPS, batch_size=4, learning_rate=1e-3, lora_rank=8, schedule="constant", max_steps=_STEPS
            )
            tuned = await TinkerTrainer(service=service).train(base, TrainingSet([example] * 4), spec, jobs)
        if not seen("training", losses[-1] < losses[0], f"loss {losses[0]:.3f} -> {losses[-1]:.3f} in {_STEPS} steps"):
            return steps
        after = await _ask(TinkerBackend(tuned, service=service), question)
        now = (after.answer_logprobs or {}).get("B")
        rose = now is not None and now > shown.get("B", float("-inf"))
        seen("asking what was trained", rose, f"log-probabilities {_numbers(after.answer_logprobs or {})}")
    except IntrospectError as error:
        seen("stopped", False, str(error))
    return steps


async def _ask(backend: TinkerBackend, question: Request) -> Reply:
    (reply,) = [reply async for _, reply in backend.generate([question])]
    return reply


def _numbers(logprobs: dict[str, float]) -> str:
    return ", ".join(f"{answer} {value:.2f}" for answer, value in logprobs.items()) or "none"
