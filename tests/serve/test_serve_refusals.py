"""Who may come in, how much they may bring, and that nothing they bring breaks the server."""

from __future__ import annotations

import json

import httpx
import openai
import pytest
from openai_contract import check_schema
from serve_lessons import LESSONS, QUESTION, jsonl, lesson

from introspect.backend import ModelRef
from introspect.errors import ConfigError
from introspect.serve import Limits, ServeConfig, serve, serving

HTTP = httpx.Client(verify=False)  # nothing is encrypted on this machine; loading certificates takes time
AGENT = ModelRef(provider="simulated", model="demo")


def told(reply: httpx.Response, status: int) -> dict:
    assert reply.status_code == status, reply.text
    check_schema(reply.json(), "ErrorResponse")
    return reply.json()["error"]


def upload(url: str, data: bytes, name: str = "x.jsonl", purpose: str = "fine-tune", **options) -> httpx.Response:
    return HTTP.post(f"{url}/files", files={"file": (name, data)}, data={"purpose": purpose}, **options)


def test_an_address_that_others_can_reach_needs_a_key(folder) -> None:
    with pytest.raises(ConfigError, match="--key-env"):
        serve(ServeConfig(model=AGENT, folder=folder), host="0.0.0.0", port=0)
    assert not folder.exists()


def test_with_a_key_nobody_comes_in_without_it(folder, connect) -> None:
    with serving(AGENT, folder, key="sk-planted-0123456789") as url:
        assert connect(url, "sk-planted-0123456789").models.list().data[0].id == "demo"
        for headers in ({}, {"Authorization": "Bearer sk-wrong"}, {"Authorization": "sk-planted-0123456789"}):
            error = told(HTTP.get(f"{url}/models", headers=headers), 401)
            assert error["code"] == "invalid_api_key"
            assert "planted" not in json.dumps(error)
        with pytest.raises(openai.AuthenticationError):
            connect(url, "other").files.list()
    assert not any(b"planted" in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_without_a_key_no_web_page_comes_in(server: str) -> None:
    for headers in (
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:80"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ):
        told(HTTP.get(f"{server}/models", headers=headers), 403)
    assert HTTP.get(f"{server}/models", headers={"Host": "localhost:1", "Origin": "http://localhost:3000"}).is_success
    # What a form of a page could send without being asked for leave is no request.
    body = json.dumps({"model": "shared", "messages": [{"role": "user", "content": QUESTION}]})
    told(HTTP.post(f"{server}/chat/completions", content=body, headers={"content-type": "text/plain"}), 415)


@pytest.mark.parametrize(
    "name",
    [
        "../../../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "/etc/passwd",
        "....//state.json",
        "%00",
        "file-x/../../server.lock",
        "x" * 5000,
    ],
)
def test_no_path_leads_out_of_the_folder(server: str, name: str) -> None:
    for kind in ("files", "fine_tuning/jobs", "batches", "models"):
        told(HTTP.get(f"{server}/{kind}/{name}"), 404)
    for url in (f"{server}/files/{name}/content", f"{server}/fine_tuning/jobs/{name}/events"):
        told(HTTP.get(url), 404)
    told(HTTP.delete(f"{server}/files/{name}"), 404)


@pytest.mark.parametrize("name", ["../../escape.jsonl", "..\\..\\escape.jsonl", "/etc/escape.jsonl", "a\x1b[2Jb", ""])
def test_a_files_name_is_a_label(folder, name: str) -> None:
    with serving(AGENT, folder) as url:
        reply = upload(url, LESSONS, name=name or "x")
        assert reply.is_success, reply.text
        kept = reply.json()["filename"]
        assert not set(kept) & set("/\\\x1b")
    inside = {path.name for path in (folder / "files").iterdir()}
    assert inside == {f"{reply.json()['id']}.json", f"{reply.json()['id']}.data"}
    assert not list(folder.parent.rglob("escape*"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\n\n", "no lines"),
        (b"{}\n{nonsense\n", "Line 2 is not JSON"),
        (b"[1]\n", "Line 1 is not a JSON object"),
        (b"\xff\xfe\n", "Line 1 is not JSON"),
        (b'{"a": NaN}\n', "Line 1 is not JSON"),
        (b'{"a": "\\ud800"}\n', "not valid Unicode"),
        (b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}\n", "Line 1 is not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}\n", "Line 1 is not JSON"),
        (b"PK\x03\x04\x00\x00", "Line 1 is not JSON"),
    ],
)
def test_malformed_lines_are_refused_and_named(server: str, data: bytes, words: str) -> None:
    error = told(upload(server, data), 400)
    assert words in error["message"]
    assert error["param"] == "file"


def test_limits_hold(folder) -> None:
    limits = Limits(body=2000, file=4000, line=500, lines=30, files=2, storage=6000, jobs=1, messages=3, n=4)
    with serving(AGENT, folder, limits=limits) as url:
        told(upload(url, b"{}\n" * 31), 400)
        told(upload(url, b'{"a": "' + b"x" * 600 + b'"}\n'), 400)
        told(upload(url, (b'{"a": "' + b"x" * 400 + b'"}\n') * 10), 413)
        told(upload(url, b"{}\n" * 100_000), 413)  # by its announced length
        # By counting: the form is a good one as far as it goes, so that nothing but its length can be refused, however
        # the network cuts it.
        start = b'--x\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
        endless = HTTP.post(
            f"{url}/files",
            content=iter([start] + [b"x" * 9000] * 20),
            headers={"content-type": "multipart/form-data; boundary=x"},
        )
        told(endless, 413)
        turn = {"role": "user", "content": "x" * 3000}
        told(HTTP.post(f"{url}/chat/completions", json={"model": "demo", "messages": [turn]}), 413)
        for wrong in ({"n": 5}, {"messages": [{"role": "user", "content": "x"}] * 4}):
            short = {"model": "demo", "messages": [{"role": "user", "content": "x"}], **wrong}
            told(HTTP.post(f"{url}/chat/completions", json=short), 400)
        first = upload(url, b'{"a": "' + b"x" * 400 + b'"}\n' + b"{}\n" * 20)
        assert first.is_success
        assert upload(url, b"{}\n").is_success
        assert told(upload(url, b"{}\n"), 429)["code"] == "too_many_files"
        job = {"model": "demo", "training_file": first.json()["id"]}
        assert HTTP.post(f"{url}/fine_tuning/jobs", json=job).is_success
        assert told(HTTP.post(f"{url}/fine_tuning/jobs", json=job), 429)["code"] == "job_limit"


def test_forms_that_are_none_are_refused(server: str) -> None:
    url = f"{server}/files"
    kind = {"content-type": "multipart/form-data; boundary=x"}
    told(HTTP.post(url, json={"file": "x"}), 415)
    told(HTTP.post(url, content=b"rubbish", headers=kind), 400)
    told(HTTP.post(url, content=b"rubbish", headers={"content-type": "multipart/form-data"}), 400)
    told(HTTP.post(url, data={"purpose": "fine-tune"}, files={"other": b"{}"}), 400)
    told(HTTP.post(url, files={"file": ("x", b"{}")}), 400)
    told(HTTP.post(url, files={"file": ("x", b"{}")}, data={"purpose": "world-peace"}), 400)
    told(HTTP.post(url, files=[("file", ("x", b"{}")), ("file", ("y", b"{}"))], data={"purpose": "batch"}), 400)
    wrong = {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "1e9"}
    told(HTTP.post(url, files={"file": ("x", b"{}")}, data=wrong), 400)


def test_json_that_is_none_is_refused(server: str) -> None:
    head = {"content-type": "application/json"}
    for path in ("chat/completions", "fine_tuning/jobs", "batches"):
        for body in (b"", b"{", b"[]", b"null", b"\xff", b'{"model": NaN}', b"[" * 100_000, b'{"model": "\\ud800"}'):
            told(HTTP.post(f"{server}/{path}", content=body, headers=head), 400)


def test_unknown_addresses_and_methods_are_told_apart(server: str) -> None:
    assert told(HTTP.get(f"{server}/embeddings"), 404)["code"] == "unknown_url"
    assert told(HTTP.put(f"{server}/files"), 405)["code"] == "method_not_allowed"
    for query in ("limit=0", "limit=-1", "limit=x", "limit=99999999999", "after=nobody", "order=up"):
        told(HTTP.get(f"{server}/files?{query}"), 400)


def test_files_end_when_their_time_is_over(folder, monkeypatch) -> None:
    import time

    with serving(AGENT, folder) as url:
        form = {"purpose": "fine-tune", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
        kept = HTTP.post(f"{url}/files", files={"file": ("x", jsonl(lesson(0)))}, data=form).json()
        assert kept["expires_at"] == kept["created_at"] + 3600
        now = time.time
        monkeypatch.setattr("introspect.serve.files.time.time", lambda: now() + 3601)
        told(HTTP.get(f"{url}/files/{kept['id']}"), 404)
    assert not list((folder / "files").iterdir())
