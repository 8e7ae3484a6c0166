"""Forty promises of a backend, one test each: subclass `BackendConformance` and give it a factory.

from introspect.testing import BackendConformance

class TestMine(BackendConformance):
    deterministic = True

    def make(self):
        return MyBackend("http://localhost:8000")
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, Literal

from introspect.backend.portal import ask, collect, run_sync
from introspect.backend.protocol import ModelBackend
from introspect.backend.streaming import closable
from introspect.backend.wire import Capabilities, Message, ModelInfo, ModelRef, Reply, Request
from introspect.errors import MissingExtraError
from introspect.testing.conformance import check_reply, default_requests

try:
    import pytest
except ImportError:  # pragma: no cover
    raise MissingExtraError("pytest", "testing") from None

__all__ = ["BackendConformance"]

_UNICODE = "Ärger 😀 שלום مرحبا 中文 e\u0301 \u200f\u202e\u2066 \u0000\u0007 \U0001f468\u200d\U0001f469\u200d\U0001f467"
_PATIENCE = 60.0  # seconds until a test gives up on a backend that hangs


class BackendConformance:
    """What the library relies on, as forty named tests that pytest collects in your subclass.

    A backend is a black box here: nothing is asked of it but `ModelBackend`. What a model cannot do, it need not do; it
    must then say so in a failed reply and leave the rest of the batch unharmed.

    Override:
        make: Opens the model. Called several times; must open the same model each time.
        requests: At least three different questions that this model can answer; six short ones by default.
        failing: A request that this model must fail on, if there is one.
        deterministic: Whether equal requests at temperature 0 must get equal texts, whatever else is in the batch.
        batch: Size of the large batch.

    Example:
        >>> from introspect.backend import FunctionBackend
        >>> class TestAlwaysA(BackendConformance):
        ...     deterministic = True
        ...     def make(self):
        ...         return FunctionBackend(lambda request: "A", name="always-a", version="1")
        >>> len([name for name in dir(TestAlwaysA) if name.startswith("test_")])
        40
    """

    deterministic: ClassVar[bool] = False
    batch: ClassVar[int] = 40

    def make(self) -> ModelBackend:
        """Open the model."""
        raise NotImplementedError(f"{type(self).__name__} needs a method make() that returns the backend to test")

    def requests(self) -> Sequence[Request]:
        """Questions that the model can answer."""
        return default_requests()

    def failing(self) -> Request | None:
        """A request that the model cannot answer; None where there is none."""
        return None

    # What the tests stand on.

    @pytest.fixture(scope="class")
    def kept(self) -> Any:
        """What the tests of one class share: an open backend, what it says of itself, and its replies."""
        shared: dict[str, Any] = {}
        yield shared
        if "backend" in shared:
            run_sync(shared["backend"].aclose)

    @pytest.fixture
    def backend(self, kept: dict[str, Any]) -> ModelBackend:
        """One open backend for the whole class."""
        if "backend" not in kept:
            kept["backend"] = self.make()
        return kept["backend"]  # type: ignore[no-any-return]

    @pytest.fixture
    def capabilities(self, kept: dict[str, Any], backend: ModelBackend) -> Capabilities:
        """What the probe saw."""
        if "capabilities" not in kept:
            kept["capabilities"] = run_sync(backend.probe)
        return kept["capabilities"]  # type: ignore[no-any-return]

    @pytest.fixture
    def replies(self, kept: dict[str, Any], backend: ModelBackend) -> list[tuple[Request, Reply]]:
        """Each question with its reply."""
        if "replies" not in kept:
            asked = list(self.requests())
            assert len(asked) >= 3, "requests() must give three questions or more"
            kept["replies"] = list(zip(asked, ask(backend, asked), strict=True))
        return kept["replies"]  # type: ignore[no-any-return]

    # Identity.

    def test_it_is_a_model_backend(self, backend: ModelBackend) -> None:
        assert isinstance(backend, ModelBackend), "info, probe, generate or aclose is missing"
        assert isinstance(backend.info, ModelInfo)

    def test_its_reference_survives_json(self, backend: ModelBackend) -> None:
        ref = backend.info.ref
        assert ModelRef.model_validate_json(ref.model_dump_json()) == ref

    def test_opening_it_twice_gives_one_identity(self, backend: ModelBackend) -> None:
        twin = self.make()
        try:
            assert twin.info.key == backend.info.key, "rows and cache keys of one model would fall apart"
        finally:
            run_sync(twin.aclose)

    def test_answering_does_not_change_its_identity(self, backend: ModelBackend) -> None:
        before = backend.info.key
        ask(backend, self.requests()[:1])
        assert backend.info.key == before

    # The probe.

    def test_the_probe_returns_capabilities(self, capabilities: Capabilities) -> None:
        assert isinstance(capabilities, Capabilities)

    def test_the_probe_counts_its_calls(self, capabilities: Capabilities) -> None:
        assert capabilities.calls >= 0

    def test_the_probe_says_the_same_twice(self, backend: ModelBackend, capabilities: Capabilities) -> None:
        again = run_sync(backend.probe)
        same = {"calls", "notes"}  # a second look may cost less and say less
        assert again.model_dump(exclude=same) == capabilities.model_dump(exclude=same)

    # Batches.

    def test_an_empty_batch_yields_nothing(self, backend: ModelBackend) -> None:
        assert run_sync(_pairs, backend, ()) == []

    def test_a_batch_of_one_yields_index_0_once(self, backend: ModelBackend) -> None:
        assert [index for index, _ in run_sync(_pairs, backend, self.requests()[:1])] == [0]

    def test_every_index_is_yielded_exactly_once(self, backend: ModelBackend) -> None:
        asked = self.requests()
        assert sorted(index for index, _ in run_sync(_pairs, backend, asked)) == list(range(len(asked)))

    def test_a_large_batch_is_answered_in_full(self, backend: ModelBackend) -> None:
        asked = _many(self.requests(), self.batch)
        assert len(ask(backend, asked)) == self.batch

    def test_equal_requests_in_a_batch_get_a_reply_each(self, backend: ModelBackend) -> None:
        assert len(ask(backend, [self.requests()[0]] * 3)) == 3

    def test_a_list_and_a_tuple_of_requests_are_alike(self, backend: ModelBackend) -> None:
        asked = self.requests()[:2]
        one, other = (run_sync(_pairs, backend, kind(asked)) for kind in (list, tuple))
        assert len(one) == len(other) == 2

    def test_repeats_that_differ_in_their_sample_index_are_told_apart(self, backend: ModelBackend) -> None:
        repeats = [self.requests()[0].model_copy(update={"sample_index": k}) for k in range(3)]
        assert len(ask(backend, repeats)) == 3

    def test_replies_belong_to_their_questions(
        self, backend: ModelBackend, replies: list[tuple[Request, Reply]]
    ) -> None:
        self._needs_determinism()
        for request, reply in _greedy(replies):
            assert ask(backend, [request])[0].text == reply.text, "asked alone, a question got another answer"

    def test_the_order_of_a_batch_does_not_matter(
        self, backend: ModelBackend, replies: list[tuple[Request, Reply]]
    ) -> None:
        self._needs_determinism()
        backwards = [request for request, _ in reversed(replies)]
        for (request, reply), again in zip(replies, reversed(ask(backend, backwards)), strict=True):
            assert request.temperature > 0 or again.text == reply.text

    # Replies.

    def test_replies_are_sane(self, replies: list[tuple[Request, Reply]]) -> None:
        for request, reply in replies:
            check_reply(request, reply)

    def test_questions_it_can_answer_do_not_fail(self, replies: list[tuple[Request, Reply]]) -> None:
        failed = [(request.messages[-1].content[:60], reply.reason) for request, reply in replies if _lost(reply)]
        assert failed == [], "override requests() with questions that this model can answer"

    def test_a_reply_survives_json(self, replies: list[tuple[Request, Reply]]) -> None:
        for _, reply in replies:
            assert Reply.model_validate_json(reply.model_dump_json()) == reply

    def test_probabilities_of_answers_sum_to_at_most_1(self, replies: list[tuple[Request, Reply]]) -> None:
        for request, reply in replies:
            if reply.answer_logprobs is not None:
                check_reply(request, reply)

    def test_probabilities_are_given_only_where_asked(self, replies: list[tuple[Request, Reply]]) -> None:
        for request, reply in replies:
            assert reply.answer_logprobs is None or set(reply.answer_logprobs) <= set(request.answers or ())

    def test_probabilities_that_the_probe_saw_come(
        self, capabilities: Capabilities, replies: list[tuple[Request, Reply]]
    ) -> None:
        self._needs(capabilities, "answer_logprobs")
        for request, reply in replies:
            if request.answers is not None and reply.status == "completed":
                assert reply.answer_logprobs is not None

    def test_complete_probabilities_name_every_answer(
        self, capabilities: Capabilities, replies: list[tuple[Request, Reply]]
    ) -> None:
        self._needs(capabilities, "complete_logprobs")
        for request, reply in replies:
            if request.answers is not None and reply.answer_logprobs is not None:
                assert set(reply.answer_logprobs) == set(request.answers)

    def test_tokens_are_counted_as_whole_numbers_or_not_at_all(self, replies: list[tuple[Request, Reply]]) -> None:
        for _, reply in replies:
            assert (reply.usage.prompt_tokens or 0) >= 0
            assert (reply.usage.completion_tokens or 0) >= 0

    def test_the_cap_on_tokens_is_kept(self, backend: ModelBackend) -> None:
        (reply,) = ask(backend, [self.requests()[0].model_copy(update={"max_tokens": 1, "answers": None})])
        assert _told(reply)
        assert (reply.usage.completion_tokens or 0) <= 16, "a cap of 1 token gave many (some servers have a least cap)"

    # Unusual questions: answered or failed, and never at the cost of their neighbours.

    def test_unicode_leaves_the_neighbours_unharmed(self, backend: ModelBackend) -> None:
        self._survives(backend, _asks(_UNICODE))

    def test_an_empty_question_leaves_the_neighbours_unharmed(self, backend: ModelBackend) -> None:
        self._survives(backend, _asks(""))

    def test_a_long_question_leaves_the_neighbours_unharmed(self, backend: ModelBackend) -> None:
        self._survives(backend, _asks("Which boat is faster? " * 2000))

    def test_many_turns_leave_the_neighbours_unharmed(self, backend: ModelBackend) -> None:
        roles: tuple[Literal["user", "assistant"], ...] = ("user", "assistant")
        turns = tuple(Message(role=roles[k % 2], content=f"turn {k}") for k in range(9))
        self._survives(backend, Request(messages=turns, max_tokens=8))

    def test_a_system_message_leaves_the_neighbours_unharmed(self, backend: ModelBackend) -> None:
        messages = (Message(role="system", content="Be brief."), Message(role="user", content="A or B?"))
        self._survives(backend, Request(messages=messages, max_tokens=8))

    def test_answers_of_several_words_leave_the_neighbours_unharmed(self, backend: ModelBackend) -> None:
        odd = self.requests()[0].model_copy(update={"answers": ("the first one", "neither of them", "")})
        self._survives(backend, odd)

    def test_sampling_is_answered(self, backend: ModelBackend) -> None:
        warm = self.requests()[0].model_copy(update={"temperature": 1.0, "seed": 7})
        (reply,) = ask(backend, [warm])
        assert _told(reply)
        check_reply(warm, reply)

    # Errors.

    def test_a_failing_request_fails_alone_and_says_why(self, backend: ModelBackend) -> None:
        bad = self.failing()
        if bad is None:
            pytest.skip("failing() names no request that must fail")
        one, other = self.requests()[:2]
        before, reply, after = ask(backend, [one, bad, other])
        assert reply.status == "failed"
        assert reply.reason, "a failed reply must say why"
        assert not _lost(before)
        assert not _lost(after)

    # Running, leaving and closing.

    def test_it_answers_after_a_batch_was_left_early(self, backend: ModelBackend) -> None:
        async def first() -> None:
            async with aclosing(closable(backend.generate(self.requests()))) as arriving:
                async for _ in arriving:
                    return

        run_sync(first)
        assert len(ask(backend, self.requests()[:1])) == 1

    def test_it_answers_after_a_batch_was_cancelled(self, backend: ModelBackend) -> None:
        async def cancelled() -> None:
            task = asyncio.ensure_future(_pairs(backend, _many(self.requests(), self.batch)))
            await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.wait([task], timeout=_PATIENCE)
            assert task.done(), "a cancelled batch does not end"  # finished is fine too: it was quicker

        run_sync(cancelled)
        assert len(ask(backend, self.requests()[:1])) == 1

    def test_two_batches_at_once_get_their_own_replies(self, backend: ModelBackend) -> None:
        one, other = list(self.requests()), list(self.requests())[::-1]

        async def both() -> tuple[list[Reply], list[Reply]]:
            return await asyncio.gather(collect(backend, one), collect(backend, other))

        first, second = run_sync(both)
        for request, reply, again in zip(one, first, reversed(second), strict=True):
            if self.deterministic and request.temperature == 0:
                assert reply.text == again.text

    def test_two_threads_may_ask_at_once(self, backend: ModelBackend) -> None:
        got: list[int] = []
        threads = [threading.Thread(target=lambda: got.append(len(ask(backend, self.requests())))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_PATIENCE)
        assert got == [len(self.requests())] * 2

    def test_it_can_be_asked_inside_a_running_event_loop(self, backend: ModelBackend) -> None:
        async def notebook_cell() -> int:
            return len(ask(backend, self.requests()[:2]))

        assert asyncio.run(notebook_cell()) == 2

    def test_closing_twice_is_harmless(self) -> None:
        backend = self.make()
        run_sync(backend.aclose)
        run_sync(backend.aclose)

    def test_it_can_be_opened_again_after_closing(self) -> None:
        for _ in range(2):
            backend = self.make()
            assert len(ask(backend, self.requests()[:1])) == 1
            run_sync(backend.aclose)

    # Helpers.

    def _survives(self, backend: ModelBackend, odd: Request) -> None:
        one, other = self.requests()[:2]
        before, reply, after = ask(backend, [one, odd, other])
        assert _told(reply), f"a {reply.status} reply must say why"
        check_reply(odd, reply)
        assert not _lost(before), f"a neighbour failed with it: {before.reason}"
        assert not _lost(after), f"a neighbour failed with it: {after.reason}"

    def _needs_determinism(self) -> None:
        if not self.deterministic:
            pytest.skip("deterministic is False")

    @staticmethod
    def _needs(capabilities: Capabilities, what: str) -> None:
        if not getattr(capabilities, what):
            pytest.skip(f"the probe saw no {what}")


async def _pairs(backend: ModelBackend, asked: Sequence[Request]) -> list[tuple[int, Reply]]:
    stream: AsyncIterator[tuple[int, Reply]] = backend.generate(asked)
    return [pair async for pair in stream]


def _many(asked: Sequence[Request], n: int) -> list[Request]:
    return [asked[k % len(asked)].model_copy(update={"sample_index": k}) for k in range(n)]


def _greedy(replies: list[tuple[Request, Reply]]) -> list[tuple[Request, Reply]]:
    return [(request, reply) for request, reply in replies if request.temperature == 0][:3]


def _asks(text: str) -> Request:
    return Request(messages=(Message(role="user", content=text),), max_tokens=8)


def _lost(reply: Reply) -> bool:
    return reply.status == "failed"


def _told(reply: Reply) -> bool:
    return reply.status in ("completed", "truncated") or bool(reply.reason)
