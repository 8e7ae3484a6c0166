"""How the tiny chat model is trained, and what is asked of it."""

from __future__ import annotations

from tiny_chat import letters

from introspect.backend import TrainingSpec, ask, open_model

SPEC = TrainingSpec(epochs=15, batch_size=8, learning_rate=2e-2, lora_rank=4, schedule="one-cycle", seed=3)


def logits(ref, n=8):
    return [r.answer_logprobs["A"] - r.answer_logprobs["B"] for r in ask(open_model(ref), letters(n))]
