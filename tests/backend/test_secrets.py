from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from introspect.backend.secrets import Secret, key_from_environment, key_names, scrub
from introspect.errors import ConfigError

PLANTED = "pl4nted-key-0f-the-tests"
keys = st.text(st.characters(codec="ascii", min_codepoint=33, max_codepoint=126), min_size=8, max_size=40)


def test_a_key_is_not_shown_by_anything_that_prints_it(caplog: pytest.LogCaptureFixture) -> None:
    key = Secret(PLANTED)
    logging.getLogger("introspect").warning("opened with %s and %r", key, key)
    shown = [repr(key), str(key), f"{key:>30}", f"{[key]} { ({'k': key}) }", caplog.text]
    assert not [text for text in shown if PLANTED in text]
    assert key.reveal() == PLANTED


def test_a_key_is_neither_pickled_nor_copied_into_json() -> None:
    key = Secret(PLANTED)
    for copying in (pickle.dumps, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            copying(key)


def test_a_key_is_compared_without_telling_how_much_was_right() -> None:
    key = Secret(PLANTED + "\n")
    assert key.matches(PLANTED)
    assert not key.matches(PLANTED[:-1])
    assert not key.matches("\udce4")


@pytest.mark.parametrize("bad", ["", "  \n", PLANTED + "\nx", PLANTED + "–", 7])
def test_what_cannot_be_a_key_is_refused_without_showing_it(bad: object) -> None:
    with pytest.raises(ConfigError) as caught:
        Secret(bad)  # type: ignore[arg-type]
    assert PLANTED not in "".join(traceback.format_exception(caught.value))


@given(keys, st.text(), st.text())
def test_a_living_key_is_found_in_any_text(value: str, before: str, after: str) -> None:
    key = Secret(value)
    for written in (value, quote(value, safe=""), json.dumps(value)):
        assert key.reveal() not in scrub(before + written + after) or key.reveal() in scrub(before + after)


@given(st.text())
def test_scrubbing_twice_changes_nothing_more(text: str) -> None:
    assert scrub(scrub(text)) == scrub(text)


@pytest.mark.parametrize(
    "text",
    [
        f"https://user:{PLANTED}@host:80/v1",
        f"https://{PLANTED}@host/v1",
        f"POST https://host/v1?api-version=1&api-key={PLANTED}&x=1",
        f"https://host/blob?sv=1&sig={PLANTED}",
        f"Authorization: Bearer {PLANTED}",
        f"{{'authorization': 'Bearer {PLANTED}'}}",
        f'{{"api-key": "{PLANTED}"}}',
        f"Headers([('api-key', '{PLANTED}')])",
        f"[(b'Authorization', b'Bearer {PLANTED}')]",
        f"api_key={PLANTED}",
        f"OPENAI_API_KEY={PLANTED}",
        f"proxy http://me:{PLANTED}@proxy:3128 refused",
        f"Incorrect API key provided: sk-proj-{PLANTED}",
        f"Set-Cookie: {PLANTED}",
    ],
)
def test_what_looks_like_a_key_is_taken_out_though_nobody_wrapped_it(text: str) -> None:
    assert PLANTED not in scrub(text)
    assert scrub(scrub(text)) == scrub(text)


@pytest.mark.parametrize(
    "text",
    ["the server at http://127.0.0.1:8000/v1 answered 503", "model gpt-4o-mini", "max_tokens=16, seed=3", "A or B?"],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert scrub(text) == text


def test_a_key_at_the_cut_does_not_survive_in_part() -> None:
    key = Secret(PLANTED)
    text = "x" * 20 + key.reveal()
    for limit in range(15, 50):
        assert PLANTED[:6] not in scrub(text, limit)
        assert len(scrub(text, limit)) <= limit


def test_a_forgotten_key_is_not_looked_for() -> None:
    key = Secret(PLANTED)
    del key
    assert scrub(f"said {PLANTED}") == f"said {PLANTED}"


def test_a_key_is_sent_only_to_the_server_that_it_was_made_for() -> None:
    env = {"OPENAI_API_KEY": "openai-key", "TOGETHER_API_KEY": "together-key"}

    def found(url: str, **more: str) -> str | None:
        key = key_from_environment(url, {**env, **more})
        return None if key is None else key.reveal()

    assert found("https://api.openai.com/v1") == "openai-key"
    assert found("https://api.together.xyz/v1") == "together-key"
    assert found("http://localhost:8000/v1") is None
    assert found("https://api.openai.com.evil.example/v1") is None
    assert found("https://notopenrouter.ai/v1", OPENROUTER_API_KEY="r") is None
    assert found("http://localhost:8000/v1", OPENAI_BASE_URL="http://localhost:8000/v1/") == "openai-key"
    assert found("http://localhost:8000/v1", INTROSPECT_API_KEY_LOCALHOST="own") == "own"
    assert found("http://localhost:8000/v1", INTROSPECT_API_KEY_LOCALHOST_8000="port") == "port"
    assert key_names("https://x.openai.azure.com/")[-1] == "AZURE_OPENAI_API_KEY"


def test_a_variable_that_cannot_be_a_key_is_named() -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        key_from_environment("https://api.openai.com/v1", {"OPENAI_API_KEY": "a\tb"})
