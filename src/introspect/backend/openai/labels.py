"""Log-probabilities of whole answers, out of the lists of most probable tokens that servers give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = ["AnswerLogprobs", "Position", "positions_of", "read_labels"]

_ABSENT = -9000.0  # OpenAI writes -9999 for "too improbable to say"
_LEADING = 4  # tokens of white space that may come before an answer


class Position(NamedTuple):
    """What is known of one generated token.

    Attributes:
        token: The one that was generated.
        logprob: Its natural-log probability.
        listed: (token, log-probability) of the most probable ones, the generated one among them.
        floor: A log-probability that no token outside `listed` exceeds; None where nothing was listed.
    """

    token: str
    logprob: float
    listed: tuple[tuple[str, float], ...]
    floor: float | None


class AnswerLogprobs(NamedTuple):
    """See the attributes of the same names of `Reply`."""

    answer_logprobs: dict[str, float]
    mass_outside: float
    logprob_floor: float | None


def positions_of(logprobs: Any) -> list[Position] | None:
    """A choice's ``logprobs`` in any of the shapes that servers send; None where there is nothing in it.

    Chat style is ``{"content": [{"token", "logprob", "top_logprobs": [...]}]}``; the older lists are ``{"tokens",
    "token_logprobs", "top_logprobs": [{token: logprob}]}``. ``bytes`` may be absent and is not needed.

    Example:
        >>> positions_of({"tokens": ["A"], "token_logprobs": [-0.1], "top_logprobs": [{"A": -0.1, "B": -2.5}]})
        [Position(token='A', logprob=-0.1, listed=(('A', -0.1), ('B', -2.5)), floor=-2.5)]
    """
    if not isinstance(logprobs, dict):
        return None
    content = logprobs.get("content")
    if isinstance(content, list):
        found = [_chat_style(entry) for entry in content]
    elif isinstance(logprobs.get("tokens"), list):
        found = _old_style(logprobs)
    else:
        return None
    positions = [position for position in found if position is not None]
    return positions if positions and len(positions) == len(found) else None


def _chat_style(entry: Any) -> Position | None:
    if not isinstance(entry, dict):
        return None
    own = _pair(entry.get("token"), entry.get("logprob"))
    top = entry.get("top_logprobs")
    listed = [_pair(e.get("token"), e.get("logprob")) for e in top if isinstance(e, dict)] if top else []
    return None if own is None else _position(own, [pair for pair in listed if pair is not None])


def _old_style(logprobs: dict[str, Any]) -> list[Position | None]:
    tokens, own, top = (logprobs.get(name) or [] for name in ("tokens", "token_logprobs", "top_logprobs"))
    if not isinstance(own, list) or len(own) != len(tokens):
        return [None]
    found = []
    for number, (token, logprob) in enumerate(zip(tokens, own, strict=True)):
        entry = top[number] if isinstance(top, list) and number < len(top) else None
        listed = [_pair(*item) for item in entry.items()] if isinstance(entry, dict) else []
        pair = _pair(token, logprob)
        found.append(None if pair is None else _position(pair, [p for p in listed if p is not None]))
    return found


def _pair(token: Any, logprob: Any) -> tuple[str, float] | None:
    if not isinstance(token, str) or not isinstance(logprob, int | float) or isinstance(logprob, bool):
        return None
    # NaN and infinities are legal in no JSON, but some servers write them.
    return (token, min(float(logprob), 0.0)) if math.isfinite(logprob) else (token, _ABSENT * 2)


def _position(own: tuple[str, float], listed: list[tuple[str, float]]) -> Position:
    # vLLM puts the generated token first and lets it take one of the k places: it may be less probable than tokens
    # that are not listed, so it says nothing about them.
    others = [logprob for token, logprob in listed if token != own[0] and logprob > _ABSENT]
    everything = [logprob for _, logprob in listed if logprob > _ABSENT]
    in_order = bool(everything) and everything == sorted(everything, reverse=True)
    known = everything if in_order else others
    if own not in listed:
        listed = [*listed, own]
    return Position(own[0], own[1], tuple(dict.fromkeys(listed)), min(known) if known else None)


def read_labels(positions: Sequence[Position], answers: Sequence[str]) -> AnswerLogprobs | None:
    """The log-probability of each answer as the whole answer, at the place where the answer begins.

    A token stands for an answer where it is that answer after white space is removed: ``A``, `` A`` and a line break
    with ``A`` are summed, ``a`` is another word. An answer that no single token spells is found by the tokens that
    begin it and no other answer. Where the model wrote white space first, the probability of doing so and then
    answering is added to that of answering at once.

    Returns:
        None where the answers cannot be told apart by their first tokens, or white space is all there is.

    Example:
        >>> first = Position(" A", -0.7, (("A", -1.6), (" A", -0.7), ("B", -2.3)), -2.3)
        >>> {a: round(p, 2) for a, p in read_labels([first], ["A", "B"]).answer_logprobs.items()}
        {'A': -0.36, 'B': -2.3}
    """
    stripped = [answer.strip() for answer in answers]
    if len(set(stripped)) < len(stripped) or not all(stripped):
        return None
    found: dict[str, list[float]] = {answer: [] for answer in answers}
    unseen, before, ended = 0.0, 0.0, False
    for position in positions[: _LEADING + 1]:
        for token, logprob in position.listed:
            answer = _answer_of(token.strip(), stripped)
            if answer is not None and logprob > _ABSENT:
                found[answers[answer]].append(before + logprob)
        if position.floor is not None:
            unseen += math.exp(before + position.floor)
        if position.token.strip():
            ended = True
            break
        before += position.logprob
    if not ended:
        return None
    shown = {answer: min(_summed(logprobs), 0.0) for answer, logprobs in found.items() if logprobs}
    outside = min(max(1.0 - math.fsum(map(math.exp, shown.values())), 0.0), 1.0)
    return AnswerLogprobs(shown, outside, min(math.log(unseen), 0.0) if unseen > 0.0 else None)


def _summed(logprobs: Sequence[float]) -> float:
    """The log of the sum of probabilities; one alone is handed on as the server wrote it, to the last digit."""
    if len(logprobs) == 1:
        return logprobs[0]
    most = max(logprobs)
    return most + math.log(math.fsum(math.exp(logprob - most) for logprob in logprobs))


def _answer_of(token: str, answers: Sequence[str]) -> int | None:
    if not token:
        return None
    if token in answers:
        return answers.index(token)
    begun = [number for number, answer in enumerate(answers) if answer.startswith(token)]
    return begun[0] if len(begun) == 1 else None
