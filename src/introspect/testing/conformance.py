"""What every backend promises, as checks that any backend can be put through.

from introspect.testing.conformance import check_backend

def test_my_backend():
    check_backend(lambda: MyBackend(...))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import aclosing

from introspect.backend.portal import ask, run_sync
from introspect.backend.protocol import ModelBackend
from introspect.backend.streaming import closable
from introspect.backend.wire import Capabilities, Message, ModelInfo, ModelRef, Reply, Request

__all__ = ["check_backend", "check_reply", "default_requests"]

_SLACK = 1e-3  # probabilities that a service rounded may sum to slightly more than 1


def default_requests() -> tuple[Request, ...]:
    """Six short questions that any chat model can be asked: with and without answers, sampled and greedy.

    Example:
        >>> len(default_requests())
        6
    """
    return tuple(
        Request(
            messages=(Message(role="user", content=f"Which is more: {a} (A) or {b} (B)? Reply with A or B."),),
            answers=("A", "B") if number % 2 == 0 else None,
            max_tokens=8,
            temperature=1.0 if number == 5 else 0.0,
            sample_index=number // 5,
        )
        for number, (a, b) in enumerate([(3, 7), (9, 2), (5, 4), (1, 8), (6, 6), (2, 0)])
    )


def check_backend(
    make_backend: Callable[[], ModelBackend],
    requests: Sequence[Request] | None = None,
    *,
    failing: Request | None = None,
    deterministic: bool = False,
) -> None:
    """Put a backend through everything that the library relies on.

    Args:
        make_backend: Opens the model anew; called twice, and must open the same model both times.
        requests: At least two questions that this model can answer, where the default ones make no sense to
            it. They are asked about five times over.
        failing: A request that this model cannot answer: it must come back as a failed reply, and its
            neighbours unharmed.
        deterministic: Whether equal requests at temperature 0 must get equal texts, whatever else is in the
            batch.

    Raises:
        AssertionError: A promise is broken; the message says which, and what was seen instead.

    Example:
        >>> from introspect.backend import FunctionBackend
        >>> check_backend(lambda: FunctionBackend(lambda request: "A", name="always-a", version="1"))
    """
    questions = tuple(default_requests() if requests is None else requests)
    if len(questions) < 2:
        raise ValueError(f"the conformance suite needs at least two requests, got {len(questions)}")
    backend, twin = make_backend(), make_backend()
    try:
        info = _check_identity(backend, twin)
        capabilities = run_sync(backend.probe)
        _check_capabilities(capabilities)
        replies = _check_indices(backend, questions)
        for request, reply in zip(questions, replies, strict=True):
            check_reply(request, reply)
        _check_logprobs_claim(capabilities, questions, replies)
        _check_leaving_early(backend, questions)
        if failing is not None:
            _check_failure(backend, questions, failing)
        if deterministic:
            _check_order_does_not_matter(backend, questions, replies)
        _require(backend.info == info, "info changed while questions were answered", backend.info)
    finally:
        for opened in (backend, twin):
            run_sync(opened.aclose)
            run_sync(opened.aclose)  # closing twice is harmless


def check_reply(request: Request, reply: Reply) -> None:
    """Check that one reply is sane for its request.

    Raises:
        AssertionError: It is not.

    Example:
        >>> reply = Reply(status="completed", answer_logprobs={"A": -0.1, "C": -9.0})
        >>> check_reply(default_requests()[0], reply)
        Traceback (most recent call last):
        AssertionError: answer_logprobs has answers that were not asked for: ['C']
    """
    _require(isinstance(reply, Reply), "a reply must be a Reply", reply)
    if reply.status in ("failed", "filtered"):
        _require(bool(reply.reason), f"a {reply.status} reply must say why in `reason`", reply)
    given = reply.answer_logprobs
    if given is not None:
        _require(request.answers is not None, "answer_logprobs were given without being asked for", given)
        strangers = sorted(set(given) - set(request.answers or ()))
        _require(not strangers, "answer_logprobs has answers that were not asked for", strangers)
        odd = {answer: value for answer, value in given.items() if not math.isfinite(value) or value > _SLACK}
        _require(not odd, "log-probabilities must be finite and at most 0; absent answers are left out", odd)
        total = sum(map(math.exp, given.values()))
        _require(total <= 1 + _SLACK, "the probabilities of the answers must sum to at most 1", total)
        if reply.mass_outside is not None:
            total += reply.mass_outside
            _require(total <= 1 + _SLACK, "answers and mass_outside must sum to at most 1", total)
    if reply.mass_outside is not None:
        _require(-_SLACK <= reply.mass_outside <= 1 + _SLACK, "mass_outside must lie in [0, 1]", reply.mass_outside)
    _require(
        Reply.model_validate_json(reply.model_dump_json()) == reply,
        "a reply must survive JSON unchanged",
        reply,
    )


def _check_identity(backend: ModelBackend, twin: ModelBackend) -> ModelInfo:
    _require(
        isinstance(backend, ModelBackend),
        "not a ModelBackend: info, probe, generate or aclose is missing",
        "",
    )
    info = backend.info
    ref = info.ref
    _require(ModelRef.model_validate_json(ref.model_dump_json()) == ref, "info.ref must survive JSON", ref)
    _require(twin.info == info, "opening the model twice gave two identities", (info, twin.info))
    return info


def _check_capabilities(capabilities: Capabilities) -> None:
    _require(isinstance(capabilities, Capabilities), "probe() must return Capabilities", capabilities)
    _require(capabilities.calls >= 0, "probe() must count its calls", capabilities.calls)


def _check_indices(backend: ModelBackend, questions: Sequence[Request]) -> list[Reply]:
    async def indices(batch: Sequence[Request]) -> list[tuple[int, Reply]]:
        return [pair async for pair in backend.generate(batch)]

    _require(run_sync(indices, ()) == [], "an empty batch must yield nothing", "replies")
    pairs = run_sync(indices, questions)
    seen = sorted(index for index, _ in pairs)
    _require(seen == list(range(len(questions))), "every index must be yielded exactly once", seen)
    alone = run_sync(indices, questions[:1])
    _require([index for index, _ in alone] == [0], "a batch of one must yield index 0 once", alone)
    by_index = dict(pairs)
    return [by_index[index] for index in range(len(questions))]


def _check_logprobs_claim(capabilities: Capabilities, questions: Sequence[Request], replies: Sequence[Reply]) -> None:
    if capabilities.answer_logprobs:
        for request, reply in zip(questions, replies, strict=True):
            if request.answers is not None and reply.status == "completed":
                _require(
                    reply.answer_logprobs is not None,
                    "probe() saw log-probabilities, but a reply has none",
                    reply,
                )


def _check_leaving_early(backend: ModelBackend, questions: Sequence[Request]) -> None:
    async def first() -> None:
        async with aclosing(closable(backend.generate(questions))) as replies:
            async for _ in replies:
                return

    run_sync(first)
    again = ask(backend, questions[:1])
    _require(len(again) == 1, "a backend must answer after a batch was left early", again)


def _check_failure(backend: ModelBackend, questions: Sequence[Request], failing: Request) -> None:
    before, reply, after = ask(backend, [questions[0], failing, questions[1]])
    _require(reply.status == "failed", "the failing request must yield a failed reply", reply)
    check_reply(failing, reply)
    for neighbour in (before, after):
        _require(neighbour.status != "failed", "a failure must not spread to its neighbours", neighbour)


def _check_order_does_not_matter(backend: ModelBackend, questions: Sequence[Request], replies: Sequence[Reply]) -> None:
    again = ask(backend, questions[::-1])[::-1]
    for request, one, other in zip(questions, replies, again, strict=True):
        if request.temperature == 0:
            _require(one.text == other.text, "equal greedy requests must get equal texts", (one.text, other.text))


def _require(kept: bool, promise: str, seen: object) -> None:
    # Not `assert`: python -O would switch the suite off.
    if not kept:
        raise AssertionError(f"{promise}: {seen}" if seen != "" else promise)
