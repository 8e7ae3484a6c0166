from __future__ import annotations

import json
from typing import Any

import pytest
from faulty_server import FaultyServer, completion, error

from introspect.cli import main


def lying(body: dict[str, Any]) -> Any:
    whole = completion({**body, "logprobs": False})
    return {**whole, "choices": whole["choices"][:1]}


def test_every_lie_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with FaultyServer(answer=lying) as server:
        assert main(["doctor", server.url]) == 0
        assert len(server.bodies) <= 14
    told = capsys.readouterr().out
    assert "and ignores: logprobs, seed, n, json_schema, prefill, model_name." in told or (
        "and ignores: logprobs, n, json_schema, prefill, model_name." in told
    )
    assert "the server sent 1" in told


def test_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    with FaultyServer(answer=lying) as server:
        assert main(["doctor", server.url, "--model", "m", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"logprobs", "n", "json_schema"} <= set(told["lies"])
    assert told["features"]["n"] == {"state": "ignored", "detail": "asked for 3 samples at once, the server sent 1"}
    assert told["calls"] <= 14


def test_a_server_that_says_no_does_not_lie(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(body: dict[str, Any]) -> Any:
        for field in ("logprobs", "n", "response_format", "continue_final_message"):
            if field in body:
                return error(400, f"Unsupported parameter: '{field}'")
        return error(404, "no such model", "model_not_found") if body["model"] != "m" else None

    with FaultyServer(refuse) as server:
        assert main(["doctor", server.url, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {told["features"][name]["state"] for name in ("logprobs", "n", "json_schema", "prefill")} == {"refused"}
    assert "model_name" not in told["lies"]


def test_a_server_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with FaultyServer() as server:
        url = server.url
    assert main(["doctor", url]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert "Is it there?" in captured.err
    assert main(["doctor", "not a url"]) == 2
    assert "not the address" in capsys.readouterr().err


def test_a_bad_key_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with FaultyServer(lambda body: error(401, "Incorrect API key provided")) as server:
        assert main(["doctor", server.url]) == 2
    assert "does not accept the key" in capsys.readouterr().err
