"""Reading the probability of each answer off the logits at the answer position."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from introspect.backend.local.chat import ChatCodec
from introspect.backend.local.decode import exact
from introspect.backend.wire import Request

__all__ = ["Openings", "first_tokens", "read_answers", "read_batch"]

_VARIANTS = ("{}", " {}", "\n{}")  # how a model may begin to write an answer: at once, after a space, on a new line


def first_tokens(codec: ChatCodec, prompt_text: str, answers: Sequence[str]) -> dict[str, tuple[int, ...]] | str:
    """The tokens that can begin each answer at the end of this prompt.

    Every variant is tokenised where it would stand; one that melts into the prompt's last token cannot occur there.

    Returns:
        Token ids per answer, or why they do not tell the answers apart.
    """
    prompt = codec.encode(prompt_text)
    found: dict[str, tuple[int, ...]] = {}
    owner: dict[int, str] = {}
    for answer in answers:
        ids = set()
        for variant in _VARIANTS:
            whole = codec.encode(prompt_text + variant.format(answer))
            # A token of white space alone begins anything.
            if whole[: len(prompt)] == prompt and len(whole) > len(prompt):
                token = whole[len(prompt)]
                if codec.decode([token]).strip():
                    ids.add(token)
        if not ids:
            return f"{answer!r} has no token to begin with after this prompt"
        for token in ids:
            if owner.setdefault(token, answer) != answer:
                return f"{owner[token]!r} and {answer!r} begin with the same token"
        found[answer] = tuple(sorted(ids))
    return found


class Openings:
    """`first_tokens` for many requests, which mostly end alike and ask for the same answers.

    Args:
        codec: The model's codec.
    """

    def __init__(self, codec: ChatCodec) -> None:
        self._codec = codec
        self._known: dict[tuple[str, tuple[str, ...]], dict[str, tuple[int, ...]] | str] = {}

    def of(self, request: Request, prompt_text: str) -> dict[str, tuple[int, ...]] | str | None:
        """The answers' first tokens; why there are none, in words; None where no answers are to be read."""
        if not request.answers or request.thinking:
            return None
        key = (prompt_text[-64:], request.answers)  # no token reaches further back than that
        if key not in self._known:
            self._known[key] = first_tokens(self._codec, prompt_text, request.answers)
        return self._known[key]


def read_answers(logits: torch.Tensor, tokens: Mapping[str, Sequence[int]]) -> tuple[dict[str, float], float]:
    """Log-probability of each answer, summed over its first tokens, and the probability of anything else.

    Args:
        logits: At the answer position, [vocabulary].
        tokens: From `first_tokens`.

    Example:
        >>> logprobs, outside = read_answers(torch.zeros(4), {"A": [0], "B": [1, 2]})
        >>> round(logprobs["B"], 4), round(outside, 4)
        (-0.6931, 0.25)
    """
    return read_batch(logits[None], [tokens])[0]


def read_batch(
    logits: torch.Tensor, tokens: Sequence[Mapping[str, Sequence[int]]]
) -> list[tuple[dict[str, float], float]]:
    """`read_answers` for every row of [batch, vocabulary], with few calls on the device."""
    precise = exact(logits)
    pairs = [(row, token) for row, named in enumerate(tokens) for ids in named.values() for token in ids]
    rows, columns = torch.tensor(pairs, device=logits.device).T
    values = iter((precise[rows, columns] - torch.logsumexp(precise, dim=-1)[rows]).tolist())
    found = []
    for named in tokens:
        read = {}
        for answer, ids in named.items():
            logprobs = [next(values) for _ in ids]
            most = max(logprobs)
            read[answer] = min(most + math.log(sum(math.exp(p - most) for p in logprobs)), 0.0)
        outside = 1 - sum(math.exp(p) for p in read.values())
        found.append((read, min(max(outside, 0.0), 1.0)))
    return found
