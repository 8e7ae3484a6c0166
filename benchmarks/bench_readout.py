"""Reading choices off a local model, against a plain and a batched loop over generate(max_new_tokens=1).

The same prompts at three lengths: choices as the chat style words them, behind more and more background that all
choices of a context share. The loops get prompts that are tokenised already; ours is the whole path, from requests to
replies. Time is processor time, which another process on the machine does not stretch. "Allowed" is what sharing could
gain at most: all tokens over distinct ones.

Run: python benchmarks/bench_readout.py [--model smollm2] [--contexts 2] [--choices 8] [--background 0,2,5]
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from introspect import ChatStyle, ModelRef, TrialGenerator, catalogue
from introspect.backend import Message, Request, ask
from introspect.backend.local.backend import TransformersBackend
from introspect.backend.local.bases import acquire, weights_of
from introspect.backend.models import PACKAGED, model_ref

BATCH = 8


def prompts(contexts: int, choices: int, background: int) -> list[Request]:
    """Choices of each context behind so many earlier conversations that its choices share."""
    style, made = ChatStyle(), []
    scenarios = catalogue()[: contexts + background]
    for scenario in scenarios[:contexts]:
        shared: list[Message] = []
        for other in scenarios[contexts:]:
            ((_, trial),) = TrialGenerator().trials([other], 1, rng=hash_of(scenario.id))
            asked = [m for m in style.choice(other, trial).messages if m.role == "user"]
            shared += [Message(role="user", content=asked[-1].content), Message(role="assistant", content="A")]
        for _, trial in TrialGenerator().trials([scenario], choices, rng=1):
            system, *rest = (Message(role=m.role, content=m.content) for m in style.choice(scenario, trial).messages)
            made.append(Request(messages=(system, *shared, *rest), answers=("A", "B"), max_tokens=1))
    return made


def hash_of(name: str) -> int:
    """A seed of a name, the same in every process."""
    return sum(ord(letter) * (place + 1) for place, letter in enumerate(name))


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time of a call, and what it returns."""
    start = time.process_time()
    found = run()
    return time.process_time() - start, found


@torch.inference_mode()
def one_by_one(model: Any, ids: Sequence[Sequence[int]]) -> torch.Tensor:
    """A plain loop."""
    return torch.cat([generated(model, [row]) for row in ids])


@torch.inference_mode()
def batched(model: Any, ids: Sequence[Sequence[int]]) -> torch.Tensor:
    """The usual loop: sorted by length, padded on the left."""
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    found = torch.cat([generated(model, [ids[i] for i in order[k : k + BATCH]]) for k in range(0, len(order), BATCH)])
    return found[torch.argsort(torch.tensor(order))]


def generated(model: Any, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Log-probabilities of the first new token, [batch, vocabulary]."""
    width = max(map(len, rows))
    out = model.generate(
        torch.tensor([[0] * (width - len(row)) + list(row) for row in rows]),
        attention_mask=torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows]),
        max_new_tokens=1,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
        pad_token_id=0,
    )
    return torch.log_softmax(out.logits[0].double(), -1)


@torch.inference_mode()
def forward(model: Any, ids: Sequence[Sequence[int]]) -> torch.Tensor:
    """Plain forward passes: what probabilities are compared with."""
    return torch.stack([model(torch.tensor([row])).logits[0, -1].double().log_softmax(-1) for row in ids])


def main() -> None:
    """Print a row for each length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2", help="a packaged model or a folder")
    parser.add_argument("--contexts", type=int, default=2)
    parser.add_argument("--choices", type=int, default=8, help="per context")
    parser.add_argument("--background", default="0,2,5", help="earlier conversations, for each length")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    named = model_ref(given.model) if given.model in PACKAGED else ModelRef(provider="transformers", model=given.model)
    ref = named.model_copy(update={"settings": {"dtype": "float32"}})
    backend = TransformersBackend(ref, device="cpu")
    base = acquire(weights_of(ref), torch.device("cpu"), torch.float32)
    ask(backend, prompts(1, 2, 0))  # warm
    print(f"{given.model}, float32, {given.threads} thread(s), {given.contexts} contexts of {given.choices} choices")
    print(f"{'tokens':>7}{'one by one':>13}{'batched':>10}{'introspect':>12}  choices a second of processor time")
    for background in map(int, given.background.split(",")):
        requests = prompts(given.contexts, given.choices, background)
        ids = [base.codec.prompt(request) for request in requests]
        distinct = {row[: k + 1] for row in ids for k in range(len(row))}
        allowed = sum(map(len, ids)) / len(distinct)
        ours, replies = seconds(lambda requests=requests: ask(backend, requests))
        many, _ = seconds(lambda ids=ids: batched(base.model, ids))
        single, _ = seconds(lambda ids=ids: one_by_one(base.model, ids))
        wanted, apart = forward(base.model, ids), 0.0
        for row, (request, reply) in enumerate(zip(requests, replies, strict=True)):
            text = base.codec.prompt_text(request)
            for answer in request.answers or ():
                tokens = {base.codec.encode(text + v + answer)[len(ids[row])] for v in ("", " ", "\n")}
                tokens = {t for t in tokens if base.codec.decode([t]).strip() == answer}
                read = (reply.answer_logprobs or {})[answer]
                apart = max(apart, abs(float(torch.logsumexp(wanted[row, sorted(tokens)], 0)) - read))
        rates = [len(ids) / t for t in (single, many, ours)]
        print(
            f"{sum(map(len, ids)) / len(ids):>7.0f}{rates[0]:>13.2f}{rates[1]:>10.2f}{rates[2]:>12.2f}  "
            f"{many / ours:.2f} x batched, {allowed:.2f} x allowed: {many / ours / allowed:.2f} of it; "
            f"log-probabilities within {apart:.0e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
