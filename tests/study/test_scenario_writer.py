"""What a model drafts is counted, checked and only then believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.backend import FunctionBackend, Reply, Request
from introspect.decision import ScenarioSet, catalogue, check_leakage
from introspect.errors import ConfigError, FatalBackendError
from introspect.study import Drafts, ScenarioWriter

NAMES = "Ana Lopes", "Ben Okri Adeyo", "Chiyo Tanabe", "Dov Perl", "Emeka Nwosu"


def good(number: int = 0, **changes: object) -> dict[str, object]:
    name = NAMES[number % len(NAMES)]
    made = {
        "chooser": f"{name}, a beekeeper",
        "item": f"smoker {'abcdefgh'[number]}",
        "question": f"Which smoker would {name} light?",
        "attributes": [
            {"name": f"bellows volume {'abcdefgh'[number]}", "unit": "litres", "low": 0.5, "high": 3},
            {"name": f"fuel {'abcdefgh'[number]}", "levels": ["pine", "hessian", "straw"]},
        ],
    }
    return {key: value for key, value in (made | changes).items() if value is not None}


def author(reply: Callable[[Request], object] | Sequence[object]) -> FunctionBackend:
    """A model that gives these replies in turn, or what a function makes of the request."""
    if not callable(reply):
        todo = iter(reply)
        return FunctionBackend(lambda request: next(todo), name="author", version="1")
    return FunctionBackend(reply, name="author", version="1")


def drafted(replies: Sequence[object], n: int | None = None, **settings: object) -> Drafts:
    texts = [r if isinstance(r, str | Reply) else json.dumps(r) for r in replies]
    writer = ScenarioWriter(author(texts), **({"n_attributes": 2, "known": (), "rounds": 1} | settings))
    return writer.write("beekeeping", n or len(texts), rng=0)


def test_good_drafts_become_scenarios_in_the_catalogues_format(tmp_path) -> None:
    drafts = drafted([good(0), good(1), good(2)])
    assert drafts.counts == {"accepted": 3}
    assert drafts.scenarios.ids == ("smoker-a", "smoker-b", "smoker-c")
    assert drafts.scenarios[0].tags == ("topic:beekeeping", "attributes:2", "drafted")
    drafts.scenarios.save(tmp_path / "mine.yaml")
    assert ScenarioSet.load(tmp_path / "mine.yaml") == drafts.scenarios
    assert drafts.sentences() == ("3 of 3 scenarios about beekeeping: 3 accepted.",)


BAD = {
    "failed": (Reply(status="failed", reason="the server hung up"), "failed", "the server hung up"),
    "filtered": (Reply(status="filtered", reason="policy"), "filtered", "policy"),
    "refusal": ("I'm sorry, but I can't help with that.", "refused", "declined"),
    "prose": ("How about a nice smoker for Ana?", "unreadable", "no JSON object"),
    "empty": ("", "unreadable", "no JSON object"),
    "an object of something else": ('{"answer": "A"}', "unreadable", "no JSON object"),
    "cut inside": (json.dumps(good())[:-30], "cut off", "ends before"),
    "cut by the cap": (Reply(status="truncated", text="Let me think about"), "cut off", "1500 tokens"),
    "thinking without end": ("<think>A smoker could be", "cut off", "ends before"),
    "no chooser": (good(chooser=None), "invalid", "field 'chooser' is missing"),
    "low above high": (
        good(attributes=[{"name": "p", "low": 9, "high": 2}, {"name": "q", "low": 0, "high": 9}]), "invalid", "below",
    ),
    "not a number": (
        good(attributes=[{"name": "p", "low": "cheap", "high": 2}, {"name": "q", "low": 0, "high": 9}]),
        "invalid", "valid number",
    ),
    "infinite": (
        '{"chooser": "A", "item": "i", "question": "A?", "attributes": [{"name": "p", "low": 0, "high": 1e999}]}',
        "invalid", "finite",
    ),
    "too many attributes": (
        good(attributes=[{"name": n, "low": 0, "high": 9} for n in "pqr"]), "invalid", "3 attributes, 2 were asked for",
    ),
    "attributes of text": (good(attributes=["price", "size"]), "invalid", "attributes"),
    "a key with two values": (
        json.dumps(good()).replace('"item":', '"item": "hat", "item":', 1), "invalid", "two values",
    ),
    "a line break": (good(item="smo\nker"), "invalid", "one line"),
    "a placeholder": (good(chooser="[name], a beekeeper"), "unfit", "placeholder"),
    "nobody named": (good(question="Which smoker is best?"), "unfit", "does not name the chooser"),
    "no question": (good(question="Ana Lopes picks a smoker."), "unfit", "question mark"),
    "hardly any values": (
        good(attributes=[{"name": "legs", "low": 1, "high": 2, "step": 1}, {"name": "q", "low": 0, "high": 9}]),
        "unfit", "only 2 values",
    ),
    "a verdict in the name": (
        good(attributes=[{"name": "better smell", "low": 0, "high": 9}, {"name": "q", "low": 0, "high": 9}]),
        "unfit", "judges its own values",
    ),
    "a number in the unit": (
        good(attributes=[{"name": "p", "unit": "0-10", "low": 0, "high": 9}, {"name": "q", "low": 0, "high": 9}]),
        "unfit", "number in its unit",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_each_way_of_being_bad_is_counted_with_its_reason(name: str) -> None:
    reply, outcome, reason = BAD[name]
    drafts = drafted([reply, good(4)])
    assert drafts.counts == {outcome: 1, "accepted": 1}
    (bad,) = (d for d in drafts.drafts if d.outcome == outcome)
    assert reason in "; ".join(bad.reasons)
    assert any(line.startswith(f"{outcome}: ") for line in drafts.sentences())


@pytest.mark.parametrize(
    ("wrapped", "n"),
    [
        (f"Sure! Here it is:\n```json\n{json.dumps(good())}\n```\nEnjoy.", 1),
        (json.dumps([good(0), good(1)]), 2),
        (json.dumps({"scenarios": [good(0), good(1)]}), 2),
        (json.dumps({"scenario": good(0)}), 1),
        (f"<think>{{not json}}</think>{json.dumps(good())}", 1),
        (str(good()), 1),
        (Reply(status="truncated", text=json.dumps(good()) + "\nNow let me"), 1),
    ],
    ids=["prose and a fence", "a list", "wrapped", "wrapped once", "after thinking", "single quotes", "cut after it"],
)
def test_a_scenario_is_found_whatever_is_around_it(wrapped: object, n: int) -> None:
    drafts = drafted([wrapped], n=n, rounds=1) if n == 1 else drafted([wrapped, "none"], n=2)
    assert len(drafts.scenarios) == n


@pytest.mark.parametrize(
    "second",
    [
        good(0),
        good(1, item="Smoker  A"),
        good(1, chooser="ana lopes, A Beekeeper", question="Which one would Ana Lopes light?"),
        good(1, attributes=[{"name": "Bellows-Volume a", "low": 0, "high": 9}, {"name": "q", "low": 0, "high": 9}]),
    ],
    ids=["the same", "the item", "the chooser", "an attribute"],
)
def test_a_draft_that_shares_anything_with_one_accepted_is_a_duplicate(second: dict) -> None:
    drafts = drafted([good(0), second])
    assert drafts.counts == {"accepted": 1, "duplicate": 1}
    assert "is taken" in drafts.drafts[1].reasons[0]


def test_nothing_of_the_catalogue_is_drafted_again() -> None:
    axes = [{"name": "beam range", "unit": "nautical miles", "low": 5, "high": 30}, {"name": "q", "low": 0, "high": 9}]
    drafts = drafted([good(attributes=axes), good(1)], known=None)
    assert drafts.counts == {"duplicate": 1, "accepted": 1}
    assert check_leakage(drafts.scenarios, catalogue()).clean


def test_what_is_missing_is_asked_again_and_told_what_is_taken() -> None:
    seen: list[str] = []

    def reply(request: Request) -> str:
        seen.append(request.messages[-1].content)
        return json.dumps(good(len(seen) // 2))

    writer = ScenarioWriter(author(reply), n_attributes=2, known=(), rounds=9)
    drafts = writer.write("beekeeping", 3, rng=0)
    assert len(drafts.scenarios) == 3
    assert len(seen) == len(drafts.drafts) < 9
    assert "These are taken" not in seen[0]
    assert "smoker a" in seen[-1]
    assert "exactly 2" in seen[0]


def test_a_model_that_never_delivers_is_asked_no_more_than_promised() -> None:
    seen: list[Request] = []

    def reply(request: Request) -> str:
        seen.append(request)
        return "No."

    drafts = ScenarioWriter(author(reply), known=(), rounds=2).write("tea", 3, rng=1)
    assert len(seen) == 6
    assert drafts.counts == {"unreadable": 6}
    assert len(drafts.scenarios) == 0
    assert {r.sample_index for r in seen} == {0, 1, 2}
    assert len({r.seed for r in seen}) == 6


def test_more_than_was_wanted_is_surplus_and_kept_apart() -> None:
    drafts = drafted([json.dumps([good(0), good(1), good(2)])], n=1)
    assert drafts.counts == {"surplus": 2, "accepted": 1}
    assert len(drafts.scenarios) == 1


def test_equal_seeds_ask_equally() -> None:
    def run() -> list[Request]:
        seen: list[Request] = []
        ScenarioWriter(author(lambda r: seen.append(r) or "no"), known=(), rounds=1).write("tea", 2, rng=7)
        return seen

    assert run() == run()


def test_an_error_that_dooms_all_calls_is_raised() -> None:
    def reply(request: Request) -> str:
        raise FatalBackendError("out of credit")

    with pytest.raises(FatalBackendError, match="out of credit"):
        ScenarioWriter(author(reply), known=()).write("tea", 1, rng=0)


@pytest.mark.parametrize(
    ("settings", "topic", "n", "said"),
    [
        ({"n_attributes": 1}, "tea", 1, "n_attributes"),
        ({"rounds": 0}, "tea", 1, "rounds"),
        ({"temperature": -1.0}, "tea", 1, "temperature"),
        ({}, " ", 1, "one line"),
        ({}, "tea\nand honey", 1, "one line"),
        ({}, "tea", 0, "n must be"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_asked(settings, topic, n, said) -> None:
    with pytest.raises(ConfigError, match=said):
        ScenarioWriter(author(lambda r: pytest.fail("asked")), known=(), **settings).write(topic, n, rng=0)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
AXIS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("name", "unit", "low", "high", "step", "levels", "scale", "extra"), JSON)
)


@settings(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(
        {"attributes": st.lists(AXIS, max_size=4) | JSON},
        optional=dict.fromkeys(("chooser", "item", "question", "id", "tags", "scenarios"), JSON),
    )
    | st.text(max_size=60)
)
def test_no_reply_whatever_breaks_the_writer(reply: object) -> None:
    drafts = drafted([reply if isinstance(reply, str) else json.dumps(reply)])
    assert sum(drafts.counts.values()) >= 1
    assert all(d.reasons for d in drafts.drafts if d.outcome != "accepted")
