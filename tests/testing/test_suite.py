"""The forty tests pass our own backends, and each broken promise fails the test that is named after it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
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
    ModelBackend,
    Price,
    Recorded,
    Reply,
    Request,
    Retrying,
)
from introspect.decision import ChatStyle, OrganismStyle, TrialGenerator, organism_scenarios
from introspect.subjects.simulated import SimulatedAgent, SimulatedBackend
from introspect.testing import BackendConformance

UNREADABLE = Request(messages=(Message(role="user", content="What is the time?"),))


class Shelf(dict):
    def put(self, key: str, request: Request, reply: Reply, info: object) -> None:
        self[key] = reply


def answer(request: Request) -> Reply:
    if request == UNREADABLE:
        raise ValueError("no clock")
    given = None if request.answers is None else dict.fromkeys(request.answers, -1.5)
    return Reply(status="completed", text="A", answer_logprobs=given, mass_outside=0.1 if given else None)


async def answer_later(request: Request) -> Reply:
    await asyncio.sleep(0)
    return answer(request)


def model(fn: Any = answer) -> FunctionBackend:
    return FunctionBackend(fn, name="sound", version="1")


class TestFunction(BackendConformance):
    deterministic = True

    def make(self) -> ModelBackend:
        return model()

    def failing(self) -> Request:
        return UNREADABLE


class TestCoroutineFunction(TestFunction):
    def make(self) -> ModelBackend:
        return model(answer_later)


class TestCached(TestFunction):
    def make(self) -> ModelBackend:
        return Cached(model(), Shelf())


class TestRetrying(TestFunction):
    def make(self) -> ModelBackend:
        return Retrying(model())


class TestLimited(TestFunction):
    def make(self) -> ModelBackend:
        return Limited(model(answer_later), requests_per_minute=1e6)


class TestBudgeted(TestFunction):
    def make(self) -> ModelBackend:
        return Budgeted(model(), Budget(cap=1e9, prices={"*": Price(1, 1)}))


class TestRecorded(TestFunction):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        type(self).folder = tmp_path

    def make(self) -> ModelBackend:
        return Recorded(model(), self.folder / "calls.jsonl")


class TestSimulatedChat(BackendConformance):
    deterministic = True
    style: Any = ChatStyle()

    def make(self) -> ModelBackend:
        return SimulatedBackend(SimulatedAgent(logprobs=True, lapse=0.2))

    def requests(self) -> list[Request]:
        trials = TrialGenerator().trials(organism_scenarios(3), 2, rng=0)
        prompts = [self.style.choice(scenario, trial) for scenario, trial in trials]
        return [
            Request(messages=tuple(Message(role=m.role, content=m.content) for m in p.messages), answers=p.answers)
            for p in prompts
        ]

    def failing(self) -> Request:
        return UNREADABLE


class TestSimulatedOrganismWords(TestSimulatedChat):
    style = OrganismStyle()


BROKEN = """
import itertools
from introspect.backend import Capabilities, FunctionBackend, Message, Reply, Request
from introspect.errors import FatalBackendError
from introspect.testing import BackendConformance

def answer(request):
    return Reply(status="completed", text="A")

count = itertools.count()

class Loses(FunctionBackend):
    async def generate(self, requests):
        for index, request in list(enumerate(requests))[1:]:
            yield index, answer(request)

class Spreads(FunctionBackend):
    async def generate(self, requests):
        odd = any(not m.content or len(m.content) > 999 for r in requests for m in r.messages)
        for index, request in enumerate(requests):
            yield index, Reply(status="failed", reason="lost") if odd else answer(request)

class Boasts(FunctionBackend):
    async def probe(self):
        return Capabilities(answer_logprobs=True)

class Locks(FunctionBackend):
    async def aclose(self):
        if getattr(self, "closed", False):
            raise RuntimeError("closed")
        self.closed = True

class Base(BackendConformance):
    kind, fn, deterministic = FunctionBackend, staticmethod(answer), True
    def make(self):
        return self.kind(type(self).fn, name="b", version="1")

class TestLoses(Base):
    kind = Loses
class TestSpreads(Base):
    kind = Spreads
class TestBoasts(Base):
    kind = Boasts
class TestLocks(Base):
    kind = Locks
class TestDrifts(Base):
    fn = staticmethod(lambda request: f"reply {next(count)}")
class TestInsane(Base):
    fn = staticmethod(lambda request: Reply(status="completed", answer_logprobs={"A": 0.0, "C": -0.1}))
class TestAnonymous(Base):
    def make(self):
        return FunctionBackend(answer)
class TestFails(Base):
    fn = staticmethod(lambda request: Reply(status="failed", reason="always"))
"""

FOUND = {
    "TestLoses": {"every_index_is_yielded_exactly_once", "a_batch_of_one_yields_index_0_once"},
    "TestSpreads": {f"{what}_question_leaves_the_neighbours_unharmed" for what in ("an_empty", "a_long")},
    "TestBoasts": {"probabilities_that_the_probe_saw_come"},
    "TestLocks": {"closing_twice_is_harmless"},
    "TestDrifts": {"replies_belong_to_their_questions", "the_order_of_a_batch_does_not_matter"},
    "TestInsane": {"replies_are_sane", "probabilities_are_given_only_where_asked"},
    "TestAnonymous": {"opening_it_twice_gives_one_identity"},
    "TestFails": {"questions_it_can_answer_do_not_fail"},
}


def pytest_of(path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=no", "-rf", "--noconftest", str(path)],
        cwd=path.parent, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("broken") / "test_broken.py"
    path.write_text(BROKEN)
    return pytest_of(path)


@pytest.mark.parametrize("name", FOUND)
def test_each_broken_promise_fails_the_test_named_after_it(verdict: str, name: str) -> None:
    lines = [line for line in verdict.splitlines() if f"FAILED test_broken.py::{name}::" in line]
    failed = {line.split("::test_")[1].split()[0] for line in lines}
    assert failed >= FOUND[name], verdict
    if name in ("TestBoasts", "TestLocks", "TestAnonymous"):
        assert failed == FOUND[name], verdict


def test_there_are_forty_tests_and_the_base_class_is_not_collected() -> None:
    assert sum(name.startswith("test_") for name in vars(BackendConformance)) == 40
    assert not BackendConformance.__name__.startswith("Test")


def test_a_subclass_without_a_factory_is_told_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="needs a method make"):
        BackendConformance().make()
