"""The suite must pass sound backends and must find each broken promise."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from introspect.backend import Cached, Capabilities, FunctionBackend, Reply, Request
from introspect.errors import FatalBackendError
from introspect.testing.conformance import check_backend, check_reply, default_requests


class Shelf(dict):
    def put(self, key, request, reply, info):
        self[key] = reply


def sound(request: Request) -> Reply:
    given = None if request.answers is None else dict.fromkeys(request.answers, -1.5)
    return Reply(status="completed", text="A", answer_logprobs=given, mass_outside=0.1 if given else None)


def named(fn=sound) -> FunctionBackend:
    return FunctionBackend(fn, name="sound", version="1")


async def sound_later(request: Request) -> Reply:
    await asyncio.sleep(0.001 * (len(request.messages[0].content) % 3))
    return sound(request)


@pytest.mark.parametrize(
    "make",
    [named, lambda: named(sound_later), lambda: named(lambda r: "A"), lambda: Cached(named(), Shelf())],
    ids=["function", "coroutine function", "no log-probabilities", "cached"],
)
def test_a_sound_backend_passes(make) -> None:
    check_backend(make, deterministic=True)


def test_a_failing_request_must_fail_alone() -> None:
    bad = default_requests()[0].model_copy(update={"max_tokens": 99})

    def fragile(request: Request) -> Reply:
        if request == bad:
            raise ValueError("too long")
        return sound(request)

    check_backend(lambda: named(fragile), failing=bad)
    with pytest.raises(AssertionError, match="must yield a failed reply"):
        check_backend(named, failing=bad)

    class Spreads(FunctionBackend):
        async def generate(self, requests):
            broken = any(request == bad for request in requests)
            for index, request in enumerate(requests):
                yield index, Reply(status="failed", reason="batch lost") if broken else sound(request)

    with pytest.raises(AssertionError, match="must not spread"):
        check_backend(lambda: Spreads(sound, name="s", version="1"), failing=bad)

    class Raises(FunctionBackend):
        async def generate(self, requests):
            for index, request in enumerate(requests):
                if request == bad:
                    raise FatalBackendError("raised instead")
                yield index, sound(request)

    with pytest.raises(FatalBackendError):
        check_backend(lambda: Raises(sound, name="s", version="1"), failing=bad)


def with_generate(generate):
    """A backend whose `generate` is this function of the requests, yielding pairs."""

    class Broken(FunctionBackend):
        async def generate(self, requests):
            for pair in generate(requests):
                yield pair

    return lambda: Broken(sound, name="broken", version="1")


def answers(requests):
    return [(index, sound(request)) for index, request in enumerate(requests)]


@pytest.mark.parametrize(
    "generate",
    [
        lambda requests: answers(requests)[1:],
        lambda requests: answers(requests) + answers(requests)[:1],
        lambda requests: [(index + 1, reply) for index, reply in answers(requests)],
    ],
    ids=["loses one", "doubles one", "off by one"],
)
def test_indices_that_are_lost_or_doubled_are_found(generate) -> None:
    with pytest.raises(AssertionError, match="exactly once"):
        check_backend(with_generate(generate))


def test_an_answer_to_nothing_is_found() -> None:
    with pytest.raises(AssertionError, match="empty batch"):
        check_backend(with_generate(lambda requests: answers(requests) or [(0, Reply(status="completed"))]))


@pytest.mark.parametrize(
    ("fields", "promise"),
    [
        ({"status": "failed"}, "must say why"),
        ({"status": "filtered"}, "must say why"),
        ({"answer_logprobs": {"A": 0.5}}, "at most 0"),
        ({"answer_logprobs": {"A": float("-inf")}}, "finite"),
        ({"answer_logprobs": {"A": float("nan")}}, "finite"),
        ({"answer_logprobs": {"A": -0.1, "B": -0.1}}, "sum to at most 1"),
        ({"answer_logprobs": {"A": -0.1}, "mass_outside": 0.5}, "mass_outside must sum"),
        ({"answer_logprobs": {"C": -0.1}}, "not asked for"),
        ({"mass_outside": 1.5}, "lie in"),
        ({"provenance": {"x": float("inf")}}, "survive JSON"),
    ],
    ids=str,
)
def test_an_insane_reply_is_found(fields: dict, promise: str) -> None:
    request = default_requests()[0]
    with pytest.raises(AssertionError, match=promise):
        check_reply(request, Reply(**{"status": "completed", "text": "A", **fields}))


def test_logprobs_that_nobody_asked_for_are_found() -> None:
    with pytest.raises(AssertionError, match="without being asked"):
        check_reply(default_requests()[1], Reply(status="completed", answer_logprobs={"A": -0.1}))


def test_an_identity_that_changes_is_found() -> None:
    with pytest.raises(AssertionError, match="two identities"):
        check_backend(lambda: FunctionBackend(sound))  # unnamed: every object is a model of its own

    class Drifts(FunctionBackend):
        calls = itertools.count()

        @property
        def info(self):
            info = super().info
            drift = {} if next(self.calls) < 3 else {"revision": "2"}
            return info.model_copy(update={"ref": info.ref.model_copy(update=drift)})

    with pytest.raises(AssertionError, match="info changed"):
        check_backend(lambda: Drifts(sound, name="d", version="1"))


def test_a_claim_of_logprobs_that_do_not_come_is_found() -> None:
    class Boasts(FunctionBackend):
        async def probe(self):
            return Capabilities(answer_logprobs=True, calls=1)

    with pytest.raises(AssertionError, match="a reply has none"):
        check_backend(lambda: Boasts(lambda request: "A", name="b", version="1"))


def test_answers_that_depend_on_the_rest_of_the_batch_are_found() -> None:
    count = itertools.count()
    make = lambda: named(lambda request: str(next(count)))  # noqa: E731
    check_backend(make)
    with pytest.raises(AssertionError, match="equal texts"):
        check_backend(make, deterministic=True)


def test_what_is_not_a_backend_is_found() -> None:
    class Half:
        info = named().info

        async def probe(self):
            return Capabilities(answer_logprobs=False)

        async def aclose(self):
            pass

    with pytest.raises(AssertionError, match="not a ModelBackend"):
        check_backend(Half)


def test_the_suite_needs_two_questions() -> None:
    with pytest.raises(ValueError, match="at least two"):
        check_backend(named, requests=default_requests()[:1])
