from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.backend import (
    Cached,
    FunctionBackend,
    Message,
    ModelInfo,
    ModelRef,
    Reply,
    ReplyStore,
    Request,
    ask,
)
from introspect.errors import StoreError
from introspect.store import Store
from introspect.training.replies import StoredReplies

INFO = ModelInfo(ref=ModelRef(provider="p", model="m", settings={"w": [1, None]}, location="/here"))
REQUEST = Request(messages=(Message(role="user", content="A or B?"),), answers=("A", "B"))


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path / "study.db") as store:
        yield store


def test_it_is_what_a_backend_takes_as_its_cache(store: Store) -> None:
    assert isinstance(StoredReplies(store), ReplyStore)


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.builds(
        Reply,
        status=st.sampled_from(["completed", "truncated", "filtered"]),
        text=st.text(),
        reason=st.none() | st.text(),
        answer_logprobs=st.none() | st.dictionaries(st.text(), FINITE, max_size=3),
        mass_outside=st.none() | FINITE,
        thinking_text=st.none() | st.text(),
        provenance=st.dictionaries(st.text(), st.none() | st.integers() | st.text(), max_size=2),
    )
)
@settings(max_examples=25, deadline=None)
def test_every_reply_comes_back_exactly(tmp_path_factory: pytest.TempPathFactory, reply: Reply) -> None:
    with Store.open(tmp_path_factory.mktemp("s") / "study.db") as store:
        replies = StoredReplies(store)
        replies.put("k", REQUEST, reply, INFO)
        assert replies.get("k") == reply


def test_question_and_model_can_be_read_back_from_the_file(store: Store) -> None:
    StoredReplies(store).put_many([("k", REQUEST, Reply(status="completed"), INFO)])
    (row,) = store.replies()
    assert Request.model_validate_json(row.request) == REQUEST
    assert ModelInfo.model_validate_json(row.model) == INFO


def test_each_reply_is_kept_with_its_own_model(store: Store) -> None:
    replies = StoredReplies(store)
    infos = [ModelInfo(ref=ModelRef(provider="p", model=name)) for name in ("a", "b", "a")]
    for i, info in enumerate(infos):
        replies.put(f"k{i}", REQUEST, Reply(status="completed"), info)
    assert [ModelInfo.model_validate_json(row.model).ref.model for row in store.replies()] == ["a", "b", "a"]


def test_what_was_never_asked_is_none(store: Store) -> None:
    assert StoredReplies(store).get("nowhere") is None


@pytest.mark.parametrize("value", [float("-inf"), float("nan")])
def test_a_logprob_that_json_cannot_hold_is_refused_on_the_way_in(store: Store, value: float) -> None:
    with pytest.raises(StoreError, match="'A' the log-probability"):
        StoredReplies(store).put("k", REQUEST, Reply(status="completed", answer_logprobs={"A": value}), INFO)
    assert store.n_replies() == 0


def test_a_reply_from_another_version_is_an_error_and_not_a_miss(store: Store) -> None:
    store.put_reply("k", "{}", '{"status":"unheard of"}', "{}")
    with pytest.raises(StoreError, match="reply k cannot be read"):
        StoredReplies(store).get("k")


KILLED = """
import os, signal, sys
from introspect.backend import Cached, FunctionBackend, Message, Request, ask
from introspect.store import Store
from introspect.training.replies import StoredReplies

def answer(request):
    number = int(request.messages[-1].content)
    if number == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return f"answer {number}"

model = Cached(FunctionBackend(answer, name="numbers", version="1"), StoredReplies(Store.open(sys.argv[1])))
questions = [Request(messages=(Message(role="user", content=str(i)),)) for i in range(10)]
ask(model, questions, on_reply=lambda index, reply: print(index, flush=True))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("at", [0, 7])
def test_after_a_kill_only_what_was_not_delivered_is_asked_again(tmp_path: Path, at: int) -> None:
    path = tmp_path / "study.db"
    result = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), str(at)], stdout=subprocess.PIPE, text=True, timeout=60
    )
    assert result.returncode == -9
    said = result.stdout.split()
    assert said == [str(i) for i in range(len(said))]
    asked: list[str] = []

    def answer(request: Request) -> str:
        asked.append(request.messages[-1].content)
        return f"answer {asked[-1]}"

    questions = [Request(messages=(Message(role="user", content=str(i)),)) for i in range(10)]
    with Store.open(path) as store:
        kept = store.n_replies()
        assert len(said) <= kept <= at  # what was delivered was kept; what had only just arrived may be lost
        model = Cached(FunctionBackend(answer, name="numbers", version="1"), StoredReplies(store))
        replies = ask(model, questions)
    assert [reply.text for reply in replies] == [f"answer {i}" for i in range(10)]
    assert asked == [str(i) for i in range(kept, 10)]


INTERRUPTED = """
import sys, time
from introspect.backend import Cached, FunctionBackend, Message, Request, ask
from introspect.store import Store
from introspect.training.replies import StoredReplies

calls, pause = [], 0.2  # all hundred take 20 s: the signal comes long before, also where nothing gets on

def answer(request):
    calls.append(1)
    time.sleep(pause)
    return "A"

store = Store.open(sys.argv[1])
model = Cached(FunctionBackend(answer, name="numbers", version="1"), StoredReplies(store))
questions = [Request(messages=(Message(role="user", content=str(i)),)) for i in range(100)]
delivered = []

def deliver(index, reply):
    delivered.append(index)
    print(index, flush=True)

try:
    ask(model, questions, on_reply=deliver)
except KeyboardInterrupt:
    pause = 0
    kept = store.n_replies()
    print("kept", len(delivered) <= kept <= len(calls) < 100, flush=True)
    ask(model, questions)
    print("repeated", len(calls) - 100, "lost", 100 - store.n_replies())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_keeps_what_was_delivered_and_the_same_process_can_go_on(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path / "study.db")], stdout=subprocess.PIPE, text=True
    )
    try:
        for _ in range(5):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        said = process.stdout.read()
    finally:
        process.kill()
        process.stdout.close()
    assert "kept True\n" in said
    # The one call that was under way may have been made in vain; no other is.
    assert said.endswith(("repeated 0 lost 0\n", "repeated 1 lost 0\n"))
