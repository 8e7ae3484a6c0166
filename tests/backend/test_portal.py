from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from introspect.backend import FunctionBackend, Message, Reply, Request, ask, collect, portal, run_sync
from introspect.errors import BackendError


def questions(n: int) -> list[Request]:
    return [Request(messages=(Message(role="user", content=str(i)),)) for i in range(n)]


ECHO = FunctionBackend(lambda request: request.messages[-1].content, name="echo", version="1")


async def double(x: int) -> int:
    await asyncio.sleep(0)
    return 2 * x


def test_a_plain_call_works_without_a_running_loop() -> None:
    assert run_sync(double, 21) == 42


def test_a_plain_call_works_inside_a_running_loop() -> None:
    async def main() -> list[str]:
        await asyncio.sleep(0)
        texts = [reply.text for reply in ask(ECHO, questions(3))]
        await asyncio.sleep(0)
        return texts

    assert asyncio.run(main()) == ["0", "1", "2"]


def test_the_async_twin_runs_in_the_callers_own_loop() -> None:
    async def main() -> bool:
        here = asyncio.get_running_loop()
        loops: list[object] = []

        async def answer(request: Request) -> str:
            loops.append(asyncio.get_running_loop())
            return "A"

        await collect(FunctionBackend(answer), questions(2))
        return all(loop is here for loop in loops)

    assert asyncio.run(main())


def test_all_calls_of_a_process_share_one_loop() -> None:
    async def loop() -> int:
        return id(asyncio.get_running_loop())

    assert run_sync(loop) == run_sync(loop)


def test_threads_may_call_at_once() -> None:
    results: list[int] = []
    threads = [threading.Thread(target=lambda x=i: results.append(run_sync(double, x))) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(results) == [0, 2, 4, 6, 8, 10, 12, 14]


def test_a_function_asked_by_the_portal_may_use_the_synchronous_api_itself() -> None:
    def relay(request: Request) -> str:
        return ask(ECHO, [request])[0].text + "!"

    def relay_twice(request: Request) -> str:
        return ask(FunctionBackend(relay), [request])[0].text + "?"

    assert [reply.text for reply in ask(FunctionBackend(relay_twice), questions(2))] == ["0!?", "1!?"]


def test_errors_reach_the_caller_as_they_are() -> None:
    async def fail() -> None:
        raise LookupError("not here")

    with pytest.raises(LookupError, match="not here"):
        run_sync(fail)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_not_even_an_exit_inside_a_coroutine_ends_the_portal(error: BaseException) -> None:
    async def leave() -> None:
        raise error

    async def loop() -> int:
        return id(asyncio.get_running_loop())

    before = run_sync(loop)
    with pytest.raises(type(error)):
        run_sync(leave)
    assert run_sync(loop) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("in_loop", [False, True], ids=["script", "running loop"])
def test_a_forked_child_gets_a_portal_of_its_own(in_loop: bool) -> None:
    def fork_and_ask() -> int:
        assert run_sync(double, 1) == 2  # the parent's portal is up
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a deadlock must not hang the suite
            os._exit(0 if run_sync(double, 21) == 42 else 1)
        status = os.waitpid(child, 0)[1]
        assert run_sync(double, 2) == 4
        return status

    async def main() -> int:
        return fork_and_ask()

    assert (asyncio.run(main()) if in_loop else fork_and_ask()) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_fork_while_another_thread_makes_the_portal_does_not_hang_the_child() -> None:
    with portal._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os._exit(0 if run_sync(double, 21) == 42 else 1)
        assert os.waitpid(child, 0)[1] == 0


INTERRUPTED = """
import asyncio, sys
from introspect.backend import run_sync

async def wait():
    print("waiting", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.01)
        print("cleaned up", flush=True)

async def double(x):
    return 2 * x

async def main():
    run_sync(wait)

try:
    asyncio.run(main()) if sys.argv[1] == "loop" else run_sync(wait)
except KeyboardInterrupt:
    print("interrupted", run_sync(double, 21), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("where", ["script", "loop"])
def test_ctrl_c_cancels_the_call_and_leaves_the_portal_usable(where: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, where], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "waiting\n"
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=55)
    finally:
        process.kill()
    assert output == "cleaned up\ninterrupted 42\n"
    assert process.returncode == 0
    assert time.monotonic() - began < 50


def test_a_process_ends_at_once_while_a_call_is_under_way_in_a_thread() -> None:
    code = """
import asyncio, threading
from introspect.backend import run_sync
started = threading.Event()
async def forever():
    started.set()
    await asyncio.sleep(60)
def call():
    try:
        run_sync(forever)
    except BaseException:
        pass
threading.Thread(target=call, daemon=True).start()
started.wait()
print("done")
"""
    began = time.monotonic()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=55)
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")
    assert time.monotonic() - began < 50


def test_nothing_is_sent_for_no_requests() -> None:
    class Never(FunctionBackend):
        def generate(self, requests):
            raise AssertionError("asked")

    assert ask(Never(lambda request: ""), []) == []


class Fixed(FunctionBackend):
    """Yields the indices it is told to."""

    def __init__(self, indices: list[int]) -> None:
        super().__init__(lambda request: "")
        self._indices = indices

    async def generate(self, requests):
        for index in self._indices:
            yield index, Reply(status="completed", text=str(index))


def test_replies_are_put_back_in_the_order_asked() -> None:
    assert [reply.text for reply in ask(Fixed([2, 0, 1]), questions(3))] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 1], "1 of 3 requests without a reply"),
        ([0, 1, 1], "index 1"),
        ([0, 1, 3], "index 3"),
        ([-1], "index -1"),
    ],
    ids=str,
)
def test_a_backend_that_loses_or_doubles_a_reply_is_found_out(indices: list[int], message: str) -> None:
    with pytest.raises(BackendError, match=message):
        ask(Fixed(indices), questions(3))
