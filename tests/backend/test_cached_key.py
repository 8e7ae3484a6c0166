"""Each part of a stored reply's key, in both directions: another value is asked anew, the same value is found again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from introspect.backend import Cached, FunctionBackend, Message, ModelInfo, ModelRef, Reply, Request, ask, cached
from introspect.store import Store
from introspect.training import StoredReplies

REF = {
    "provider": "openai",
    "model": "m",
    "revision": "2026-01-01",
    "adapter": "ft:m:1",
    "settings": {"a": 1, "b": 2},
    "location": "http://127.0.0.1:8000/v1",
}
REQUEST = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "A or B?"}],
    "answers": ["A", "B"],
    "max_tokens": 16,
    "temperature": 1.0,
    "seed": 7,
    "prefill": "The",
    "json_schema": {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number"}}},
    "thinking": 100,
    "sample_index": 0,
}
SWAPPED = {"type": "object", "properties": {"y": {"type": "number"}, "x": {"type": "number"}}}


class Counting(FunctionBackend):
    """A model of a given identity that counts what it is asked."""

    def __init__(self, ref: ModelRef) -> None:
        super().__init__(self._answer, name="counting", version="1")
        self.calls, self._ref = 0, ref

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(ref=self._ref)

    def _answer(self, request: Request) -> Reply:
        self.calls += 1
        return Reply(status="completed", text="A", provenance={"url": str(self._ref.location), "seconds": 0.1})


def calls(folder: Path, ref: dict[str, Any], request: dict[str, Any]) -> int:
    """How often the model is asked, by a program that has nothing but the file in common with the last one."""
    model = Counting(ModelRef.model_validate(json.loads(json.dumps(ref))))
    with Store.open(folder / "study.db") as store:
        ask(Cached(model, StoredReplies(store)), [Request.model_validate(json.loads(json.dumps(request)))])
    return model.calls


ITEMS = [
    # part, a value that is another, and the same value said otherwise (or again)
    ("model", {"provider": "azure"}, {"provider": "openai"}),
    ("model", {"model": "m2"}, {"model": "m"}),
    ("model", {"revision": "2026-01-02"}, {"revision": "2026-01-01"}),
    ("model", {"revision": None}, {}),
    ("model", {"adapter": "ft:m:2"}, {"adapter": "ft:m:1"}),
    ("model", {"settings": {"a": 1, "b": 3}}, {"settings": {"b": 2, "a": 1}}),
    ("request", {"messages": REQUEST["messages"][1:]}, {"messages": list(REQUEST["messages"])}),
    ("request", {"messages": REQUEST["messages"][::-1]}, {}),
    (
        "request",
        {"messages": [REQUEST["messages"][0], {"role": "user", "content": "A or B? "}]},
        {"messages": [dict(m) for m in REQUEST["messages"]]},
    ),
    ("request", {"messages": [REQUEST["messages"][0], {"role": "assistant", "content": "A or B?"}]}, {}),
    ("request", {"answers": ["A", "C"]}, {"answers": ["A", "B"]}),
    ("request", {"answers": ["B", "A"]}, {}),
    ("request", {"max_tokens": 17}, {"max_tokens": 16}),
    ("request", {"temperature": 0.7}, {"temperature": 1}),
    ("request", {"seed": 8}, {"seed": 7}),
    ("request", {"seed": None}, {}),
    ("request", {"prefill": "A"}, {"prefill": "The"}),
    ("request", {"thinking": 0}, {"thinking": 100}),
    ("request", {"json_schema": None}, {"json_schema": dict(REQUEST["json_schema"])}),
    # The order of properties is the order in which they are written: it is another question.
    ("request", {"json_schema": SWAPPED}, {}),
    ("request", {"sample_index": 1}, {"sample_index": 0}),
]


@pytest.mark.parametrize(("part", "other", "same"), ITEMS, ids=lambda value: str(value)[:60])
def test_another_value_is_asked_anew_and_the_same_is_found(
    tmp_path: Path, part: str, other: dict[str, Any], same: dict[str, Any]
) -> None:
    def changed(change: dict[str, Any]) -> int:
        ref = {**REF, **change} if part == "model" else REF
        return calls(tmp_path, ref, {**REQUEST, **change} if part == "request" else REQUEST)

    assert calls(tmp_path, REF, REQUEST) == 1
    assert changed(same) == 0
    assert changed(other) == 1
    assert (changed(other), changed(same)) == (0, 0)


def test_every_field_of_a_request_is_tried_above() -> None:
    tried = {name for part, other, _ in ITEMS if part == "request" for name in other}
    assert tried == set(Request.model_fields) == set(REQUEST)
    tried = {name for part, other, _ in ITEMS if part == "model" for name in other}
    assert tried == set(ModelRef.model_fields) - {"location", "parent"}


@pytest.mark.parametrize(
    "change",
    [
        {"location": "http://127.0.0.1:9999/v1"},
        {"location": "https://elsewhere.example/v1"},
        {"location": None},
        {"parent": {"provider": "openai", "model": "base"}},
    ],
    ids=str,
)
def test_the_address_and_the_lineage_are_provenance_only(tmp_path: Path, change: dict[str, Any]) -> None:
    assert calls(tmp_path, REF, REQUEST) == 1
    assert calls(tmp_path, {**REF, **change}, REQUEST) == 0
    with Store.open(tmp_path / "study.db") as store:
        (row,) = store.replies()
    assert json.loads(row.reply)["provenance"]["url"] == REF["location"]  # of the server that was asked


def test_a_new_version_of_the_key_asks_anew_and_the_old_one_is_still_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert calls(tmp_path, REF, REQUEST) == 1
    with monkeypatch.context() as later:
        later.setattr(cached, "KEY_VERSION", cached.KEY_VERSION + 1)
        assert calls(tmp_path, REF, REQUEST) == 1
        assert calls(tmp_path, REF, REQUEST) == 0
    assert calls(tmp_path, REF, REQUEST) == 0


def test_the_key_of_a_request_is_the_one_that_older_files_have() -> None:
    # Stored replies were paid for. If this fails, either mend the key or raise KEY_VERSION, knowing what it costs.
    info, request = ModelInfo(ref=ModelRef.model_validate(REF)), Request.model_validate(REQUEST)
    assert cached.request_key(info, request) == "ab7722b3bb097233df6b5ea801729797107e652f"
    plain = Request(messages=(Message(role="user", content="A or B?"),))
    assert (
        cached.request_key(ModelInfo(ref=ModelRef(provider="openai", model="m")), plain)
        == "2998d00e111edef5a58bbfcdae7ca3f53c4472ba"
    )
