from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from introspect.backend import (
    Budget,
    Budgeted,
    Cached,
    FunctionBackend,
    Limited,
    Message,
    ModelInfo,
    ModelRef,
    Price,
    Recorded,
    Reply,
    Request,
    Retrying,
    Usage,
    ask,
    load_prices,
    open_model,
    register,
    registry,
    run_sync,
)
from introspect.backend.failures import Failure
from introspect.backend.rates import Bucket, Gate, RateLimits
from introspect.errors import BackendError, BudgetError, ConfigError, FatalBackendError
from introspect.testing.conformance import check_backend


def question(text: str = "A or B?", **settings: Any) -> Request:
    return Request(messages=(Message(role="user", content=text),), **settings)


def questions(n: int, **settings: Any) -> list[Request]:
    return [question(f"number {k}", **settings) for k in range(n)]


def model(fn: Callable[[Request], Any]) -> FunctionBackend:
    return FunctionBackend(fn, name="m", version="1", concurrency=4)


def good(**settings: Any) -> Reply:
    return Reply(status="completed", text="A", **settings)


quick = {"first_wait": 0.001, "longest_wait": 0.002, "jitter": 0.0}

WRAPPERS: dict[str, Callable[[FunctionBackend, Path], Any]] = {
    "retrying": lambda inner, path: Retrying(inner),
    "limited": lambda inner, path: Limited(inner, requests_per_minute=1e6),
    "budgeted": lambda inner, path: Budgeted(inner, Budget(cap=1e9, prices={"*": Price(1, 1)})),
    "recorded": lambda inner, path: Recorded(inner, path / "calls.jsonl"),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_every_wrapper_is_itself_a_backend(name: str, tmp_path: Path) -> None:
    def answer(request: Request) -> str:
        if "fail" in request.messages[0].content:
            raise ValueError("no")
        return "A"

    async def slow(request: Request) -> str:
        await asyncio.sleep(0)
        return answer(request)

    for fn in (answer, slow):
        check_backend(lambda fn=fn: WRAPPERS[name](model(fn), tmp_path), failing=question("fail"), deterministic=True)


class TestRetrying:
    @pytest.mark.parametrize(
        "kind", ["rate limited", "overloaded", "server error", "timeout", "connection", "malformed"]
    )
    def test_what_may_pass_is_asked_again(self, kind: Any) -> None:
        failures = [Failure(kind).reply("no")] * 2
        replies = ask(Retrying(model(lambda r: failures.pop() if failures else "A"), **quick), [question()])
        assert (replies[0].text, replies[0].provenance["attempts"]) == ("A", 3)

    @pytest.mark.parametrize("reply", [Failure("refused").reply("no"), Failure("unable").reply("no")])
    def test_what_cannot_pass_is_not(self, reply: Reply) -> None:
        asked: list[Request] = []
        assert ask(Retrying(model(lambda r: asked.append(r) or reply)), [question()]) == [reply]
        assert len(asked) == 1

    def test_an_ordinary_exception_of_a_function_is_not_asked_again(self) -> None:
        asked: list[Request] = []

        def broken(request: Request) -> str:
            asked.append(request)
            raise KeyError("x")

        assert ask(Retrying(model(broken)), [question()])[0].status == "failed"
        assert len(asked) == 1

    def test_a_fatal_error_goes_through_at_once(self) -> None:
        asked: list[Request] = []

        def doomed(request: Request) -> str:
            asked.append(request)
            raise FatalBackendError("bad key")

        with pytest.raises(FatalBackendError, match="bad key"):
            ask(Retrying(model(doomed)), [question()])
        assert len(asked) == 1

    def test_the_server_s_own_wait_is_kept_to(self) -> None:
        times: list[float] = []

        def answer(request: Request) -> Any:
            times.append(time.monotonic())
            return "A" if len(times) > 1 else Failure("rate limited", retry_after=0.3).reply("429")

        assert ask(Retrying(model(answer), first_wait=30), [question()])[0].text == "A"
        assert 0.3 <= times[1] - times[0] < 25

    def test_a_server_that_asks_for_more_time_than_there_is_is_not_waited_for(self) -> None:
        busy = Failure("rate limited", retry_after=3600).reply("429")
        began = time.monotonic()
        reply = ask(Retrying(model(lambda r: busy), seconds=60), [question()])[0]
        assert time.monotonic() - began < 50
        assert reply.status == "failed"
        assert "asks to wait 3600 s" in (reply.reason or "")

    def test_attempts_and_time_have_a_limit(self) -> None:
        asked: list[Request] = []
        busy = Failure("overloaded").reply("503")
        again = model(lambda r: asked.append(r) or busy)
        reply = ask(Retrying(again, attempts=4, **quick), [question()])[0]
        assert len(asked) == 4
        assert "gave up after 4 attempts" in (reply.reason or "")
        began = time.monotonic()
        ask(Retrying(again, attempts=10**6, seconds=0.3, first_wait=0.05, longest_wait=0.05, jitter=0), [question()])
        assert time.monotonic() - began < 50

    def test_a_server_that_is_gone_stops_the_run_after_some_patience(self) -> None:
        asked: list[Request] = []
        gone = Failure("connection").reply("refused")
        wrapped = Retrying(model(lambda r: asked.append(r) or gone), attempts=2, patience=3, **quick)
        with pytest.raises(FatalBackendError, match="3 requests in a row"):
            ask(wrapped, questions(100))
        assert len(asked) < 40

    def test_a_server_that_never_answered_is_not_waited_for_as_one_that_did(self) -> None:
        asked: list[Request] = []
        gone = Failure("connection").reply("the connection to http://localhost:9 failed")
        with pytest.raises(FatalBackendError, match=r"no server was reached: .*localhost:9.*Is it running"):
            ask(Retrying(model(lambda r: asked.append(r) or gone), contact=3, **quick), [question()])
        assert len(asked) == 3
        for first in ("A", Failure("connection", charged=True).reply("reset"), Failure("overloaded").reply("503")):
            answers = [first]
            met = Retrying(
                model(lambda r, answers=answers: answers.pop() if answers else gone), attempts=5, contact=3, **quick
            )
            ask(met, [question()])
            assert "gave up after 5 attempts" in (ask(met, [question()])[0].reason or "")

    def test_a_retry_does_not_shout_at_those_who_set_up_no_logging(self, capfd: pytest.CaptureFixture[str]) -> None:
        logging.getLogger("stamina").handlers.clear()
        failures = [Failure("overloaded").reply("503")]
        ask(Retrying(model(lambda r: failures.pop() if failures else "A"), **quick), [question()])
        assert capfd.readouterr().err == ""

    @pytest.mark.parametrize("bad", [{"attempts": 0}, {"seconds": 0}, {"jitter": -1}, {"patience": 0}, {"contact": 0}])
    def test_settings_out_of_range_are_refused(self, bad: dict[str, Any]) -> None:
        with pytest.raises(ConfigError):
            Retrying(model(lambda r: "A"), **bad)


class Told(FunctionBackend):
    """A function with rate limits, as a hosted backend has them."""

    concurrency = 8
    copies = 1
    limits: RateLimits | None = None

    async def answer(self, asked: Sequence[Request]) -> list[Reply]:
        return [await self._one(request) for request in asked]


class TestLimited:
    def test_requests_are_spaced_to_the_rate(self) -> None:
        began = time.monotonic()
        ask(Limited(model(lambda r: "A"), requests_per_minute=60 * 50), questions(11))
        assert time.monotonic() - began >= 10 / 50

    def test_tokens_count_with_the_longest_answer(self) -> None:
        began = time.monotonic()
        ask(Limited(model(lambda r: "A"), tokens_per_minute=60 * 1000), questions(5, max_tokens=100))
        assert time.monotonic() - began >= 4 * 100 / 1000

    def test_limits_are_learned_from_the_server(self) -> None:
        told = Told(lambda r: "A", name="m", version="1")
        told.limits = RateLimits(requests=60 * 50)
        wrapped = Limited(told)
        ask(wrapped, [question()])
        began = time.monotonic()
        ask(wrapped, questions(11))
        assert time.monotonic() - began >= 10 / 50

    def test_nothing_is_sent_while_the_server_has_no_room(self) -> None:
        told = Told(lambda r: "A", name="m", version="1")
        told.limits = RateLimits(pause=0.3)
        wrapped = Limited(told)
        ask(wrapped, [question()])
        began = time.monotonic()
        ask(wrapped, [question()])
        assert time.monotonic() - began >= 0.2

    def test_fewer_are_under_way_after_the_server_pushed_back_and_more_again_when_it_does_not(self) -> None:
        busy = [Failure("rate limited").reply("429")]
        wrapped = Limited(Told(lambda r: busy.pop() if busy else "A", name="m", version="1"))
        assert wrapped.width == 8
        ask(wrapped, [question()])
        assert wrapped.width == 4
        ask(wrapped, questions(60))
        assert wrapped.width == 8

    def test_no_more_are_under_way_than_allowed(self) -> None:
        busy = busiest = 0

        async def slow(request: Request) -> str:
            nonlocal busy, busiest
            busy += 1
            busiest = max(busy, busiest)
            await asyncio.sleep(0.01)
            busy -= 1
            return "A"

        ask(Limited(model(slow), concurrency=3), questions(12))
        assert busiest == 3

    def test_a_cancelled_wait_does_not_lose_a_place(self) -> None:
        async def main() -> None:
            gate = Gate(1)
            await gate.enter()
            waiting = [asyncio.create_task(gate.enter()) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            gate.leave()
            await asyncio.wait_for(waiting[1], 1)
            gate.leave()
            await asyncio.wait_for(waiting[2], 1)

        run_sync(main)

    def test_complaints_about_one_crowd_halve_it_once(self) -> None:
        gate = Gate(16)
        for _ in range(5):
            gate.pushed_back(now=100.0)
        assert gate.width == 8
        gate.pushed_back(now=102.0)
        assert gate.width == 4

    def test_spacing_is_even_and_catches_up_no_burst(self) -> None:
        bucket = Bucket(60)
        assert [bucket.take(1, now=10.0) for _ in range(3)] == [0.0, 1.0, 2.0]
        assert [bucket.take(1, now=100.0) for _ in range(2)] == [0.0, 1.0]


def used(prompt: int | None = 10, completion: int | None = 1) -> Reply:
    return good(usage=Usage(prompt_tokens=prompt, completion_tokens=completion))


class TestBudgeted:
    def test_it_stops_before_the_call_that_could_break_the_cap(self) -> None:
        # Every call uses as much as it may: the hardest case for a cap.
        def answer(request: Request) -> Reply:
            return used(len(request.messages[0].content), request.max_tokens)

        for cap in (0.0, 0.05, 0.37, 1.0):
            budget = Budget(cap=cap, prices={"m": Price(1000, 1000)})
            with pytest.raises(BudgetError, match="used up"):
                ask(Budgeted(model(answer), budget), questions(100, max_tokens=5))
            assert budget.spent <= cap

    def test_calls_under_way_count_at_their_most(self) -> None:
        calls = 0

        async def slow(request: Request) -> Reply:
            nonlocal calls
            calls += 1
            await asyncio.sleep(0.01)
            return used(60, 5)

        budget = Budget(cap=1.0, prices={"m": Price(1000, 1000)})
        with pytest.raises(BudgetError):
            ask(Budgeted(model(slow), budget), questions(100, max_tokens=5))
        assert budget.spent == pytest.approx(calls * 0.065)
        # All of the cap was used: a call was only held back until others had come in below their most.
        assert 1.0 - 0.1 < budget.spent <= 1.0

    def test_replies_before_the_cap_are_delivered(self) -> None:
        delivered: list[int] = []
        wrapped = Budgeted(model(lambda r: used()), Budget(cap=0.3, prices={"m": Price(1000, 1000)}))
        with pytest.raises(BudgetError):
            ask(wrapped, questions(100, max_tokens=5), on_reply=lambda index, reply: delivered.append(index))
        assert len(delivered) > 3

    def test_an_unknown_price_is_unknown_and_never_zero(self) -> None:
        with pytest.raises(BudgetError, match="nobody knows what 'm' costs"):
            Budgeted(model(lambda r: "A"), Budget(cap=1.0, prices={"other": Price(1, 1)}))
        budget = Budget()
        ask(Budgeted(model(lambda r: used()), budget), questions(3))
        assert (budget.spent, budget.unpriced_calls) == (0.0, 3)

    def test_a_refused_call_costs_nothing_and_a_lost_one_its_most(self) -> None:
        for failure, spent in ((Failure("rate limited"), False), (Failure("timeout", charged=True), True)):
            budget = Budget(prices={"m": Price(1, 1)})
            ask(Budgeted(model(lambda r, f=failure: f.reply("no")), budget), [question()])
            assert (budget.spent > 0, budget.estimated_calls) == (spent, int(spent))

    def test_a_server_that_does_not_say_what_it_used_is_counted_at_the_most(self) -> None:
        budget = Budget(prices={"m": Price(1, 1)})
        ask(Budgeted(model(lambda r: "A"), budget), [question(max_tokens=1000)])
        assert budget.spent > 1000 / 1e6
        assert budget.estimated_calls == 1

    def test_cached_replies_cost_nothing(self) -> None:
        class Shelf(dict[str, Reply]):
            def put(self, key: str, request: Request, reply: Reply, info: ModelInfo) -> None:
                self[key] = reply

        budget = Budget(prices={"m": Price(1, 1)})
        wrapped = Cached(Budgeted(model(lambda r: used()), budget), Shelf())
        ask(wrapped, questions(3))
        spent = budget.spent
        ask(wrapped, questions(3))
        assert budget.spent == spent == pytest.approx(3 * 11e-6)

    def test_a_price_table_is_read_from_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "prices.yaml"
        path.write_text("gpt-4o-mini: {input: 0.15, output: 0.6}\n'ft:*': {input: 0.3, output: 1.2}\n")
        assert Budget(prices=load_prices(path)).price_of("ft:mine") == Price(0.3, 1.2)
        for bad in ("[1]", "m: 3", "m: {input: 1}", "m: {input: -1, output: 1}", "a: ["):
            path.write_text(bad)
            with pytest.raises(ConfigError):
                load_prices(path)


class TestRecorded:
    def test_requests_and_replies_are_written_down_without_keys(self, tmp_path: Path) -> None:
        path = tmp_path / "calls.jsonl"
        asked = question('my header is Authorization: Bearer pl4nted-key-0f-the-tests, "api_key": "x\'y"')
        ask(Recorded(model(lambda r: "A"), path), [asked, question()])
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert [line["reply"]["text"] for line in lines] == ["A", "A"]
        assert "pl4nted" not in path.read_text()
        assert Request.model_validate(lines[1]["request"]) == question()

    def test_a_later_run_adds_to_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "calls.jsonl"
        for _ in range(2):
            wrapped = Recorded(model(lambda r: "A"), path)
            ask(wrapped, [question()])
            run_sync(wrapped.aclose)
        assert len(path.read_text().splitlines()) == 2

    def test_a_file_that_cannot_be_written_is_said_before_anything_is_asked(self, tmp_path: Path) -> None:
        with pytest.raises(BackendError, match="cannot record"):
            Recorded(model(lambda r: "A"), tmp_path / "no" / "such" / "folder.jsonl")


class TestOpenModel:
    @pytest.fixture(autouse=True)
    def _clean(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(registry, "_registered", {})

    def test_a_hosted_model_is_opened_with_what_a_study_needs_around_it(self, tmp_path: Path) -> None:
        register("far", open=lambda ref: model(lambda r: "A"), hosted=True)
        wrapped: Any = open_model(
            ModelRef(provider="far", model="m"),
            budget=Budget(cap=1, prices={"m": Price(1, 1)}),
            record=tmp_path / "calls.jsonl",
            concurrency=3,
        )
        kinds = []
        while hasattr(wrapped, "inner"):
            kinds.append(type(wrapped))
            wrapped = wrapped.inner
        assert kinds == [Retrying, Budgeted, Limited, Recorded]

    def test_a_local_model_takes_no_budget(self) -> None:
        register("near", open=lambda ref: model(lambda r: "A"))
        for options in ({"budget": Budget()}, {"concurrency": 3}):
            with pytest.raises(BackendError, match="run on this machine"):
                open_model(ModelRef(provider="near", model="m"), **options)
