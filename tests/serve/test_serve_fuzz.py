"""Requests made up from OpenAI's description, sound ones and broken ones: none breaks the server."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from openai_contract import check_schema, description
from schemathesis.generation import GenerationMode

from introspect.backend import ModelRef
from introspect.serve import Limits, serving

SERVED = (
    "/models", "/models/{model}", "/chat/completions", "/files", "/files/{file_id}", "/files/{file_id}/content",
    "/fine_tuning/jobs", "/fine_tuning/jobs/{fine_tuning_job_id}", "/fine_tuning/jobs/{fine_tuning_job_id}/cancel",
    "/fine_tuning/jobs/{fine_tuning_job_id}/events", "/fine_tuning/jobs/{fine_tuning_job_id}/checkpoints",
    "/batches", "/batches/{batch_id}", "/batches/{batch_id}/cancel",
)  # fmt: skip
STATUSES: Counter[tuple[str, str, int]] = Counter()
HTTP = httpx.Client(verify=False, timeout=60)


def _document() -> dict:
    whole = description()
    paths = {path: whole["paths"][path] for path in SERVED}
    # Reading stored completions is not served.
    paths["/chat/completions"] = {"post": paths["/chat/completions"]["post"]}
    return {**whole, "paths": paths, "servers": [{"url": "/v1"}], "security": []}


SCHEMA = schemathesis.openapi.from_dict(_document())
SCHEMA.config.generation.update(modes=list(GenerationMode))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    limits = Limits(files=50, jobs=50, batches=50)
    with serving(ModelRef(provider="simulated", model="demo"), tmp_path_factory.mktemp("fuzz"), limits=limits) as base:
        yield base
    if os.environ.get("INTROSPECT_FUZZ"):
        print(*sorted(f"{' '.join(map(str, key))}: {n}" for key, n in STATUSES.items()), sep="\n")


def examples(number: int) -> settings:
    return settings(
        max_examples=number,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )


def sent(case: schemathesis.Case, url: str) -> None:
    request = case.as_transport_kwargs(base_url=url)
    request.pop("cookies", None)
    plain = _plain(request)
    if isinstance(plain.get("json"), dict) and "model" in plain["json"]:
        plain["json"]["model"] = "demo"  # else little but the model's name would ever be looked at
    try:
        try:
            reply = HTTP.request(**plain)
        except httpx.RemoteProtocolError:  # the server had just closed a connection that nobody used for a while
            reply = HTTP.request(**plain)
    except (httpx.InvalidURL, httpx.LocalProtocolError, httpx.UnsupportedProtocol, UnicodeError, ValueError):
        return  # what no client can send
    STATUSES[case.method, case.path, reply.status_code] += 1
    assert reply.status_code < 500, (case.method, case.path, reply.text)
    if reply.status_code >= 400:
        check_schema(json.loads(reply.text), "ErrorResponse")


def _plain(request: dict) -> dict:
    """requests' way of saying it, in httpx's."""
    files = request.pop("files", None)
    data = request.pop("data", None)
    kept = {k: request[k] for k in ("method", "url", "params", "headers", "json") if request.get(k) is not None}
    if files is not None:
        named = files.items() if isinstance(files, dict) else files
        kept["files"] = [(name, v if isinstance(v, str | bytes | tuple) else json.dumps(v)) for name, v in named]
        if isinstance(data, dict):
            kept["data"] = {k: v if isinstance(v, str | bytes) else json.dumps(v, default=str) for k, v in data.items()}
    elif isinstance(data, dict):
        kept["data"] = {k: str(v) for k, v in data.items()}
    elif data is not None:
        kept["content"] = data
    return kept


@SCHEMA.parametrize()
@examples(int(os.environ.get("INTROSPECT_FUZZ", "4")))
def test_a_few_made_up_requests_break_nothing(case: schemathesis.Case, url: str) -> None:
    sent(case, url)


@pytest.mark.slow
@SCHEMA.parametrize()
@examples(40)
def test_many_made_up_requests_break_nothing(case: schemathesis.Case, url: str) -> None:
    sent(case, url)
