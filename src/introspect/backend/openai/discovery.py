"""What a server tells about itself, and what it can do beside OpenAI's interface: over httpx, apart from the SDK."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from introspect.backend.openai.address import Address, Dialect
from introspect.backend.secrets import Secret, scrub
from introspect.errors import BackendError, CapabilityError

__all__ = ["ServerInfo", "dialect_of", "discover", "load_lora", "tokenize"]

_OWNERS: dict[str, Dialect] = {"vllm": "vllm", "llamacpp": "llama.cpp", "library": "ollama"}
_PATIENCE = 10.0


@dataclass(frozen=True)
class ServerInfo:
    """What a server tells without being asked for a completion.

    Attributes:
        url: Its address.
        dialect: What kind of server it is; "plain" where it does not say.
        version: As it says.
        models: Names that it serves.
        context_length: Tokens in one conversation, where it says.
        slots: Requests that it works on at once, where it says.
        problem: Why the list of models could not be had.
    """

    url: str
    dialect: Dialect
    version: str | None = None
    models: tuple[str, ...] = ()
    context_length: int | None = None
    slots: int | None = None
    problem: str | None = None


async def dialect_of(address: Address, key: Secret | None) -> Dialect:
    """The kind of server, by who it says owns its models; "plain" where that cannot be found out."""
    listed = await _get(address, f"{address.url}/models", key)
    return _owner(listed) or address.dialect


async def discover(address: Address, key: Secret | None = None) -> ServerInfo:
    """Everything that a server tells about itself; what it does not tell stays open. Costs nothing.

    Args:
        address: Of the server.
        key: Sent along, where there is one.
    """
    listed = await _get(address, f"{address.url}/models", key)
    problem = listed if isinstance(listed, str) else None
    entries = _entries(listed)
    names = tuple(entry["id"] for entry in entries if isinstance(entry.get("id"), str))
    dialect = _owner(listed) or address.dialect
    version, context, slots = None, next((c for e in entries if (c := _context(e))), None), None
    if dialect in ("llama.cpp", "plain"):
        props = await _get(address, f"{address.root}/props", key)
        if isinstance(props, dict) and "default_generation_settings" in props:
            dialect, slots = "llama.cpp", _whole(props.get("total_slots"))
            settings = props["default_generation_settings"]
            context = _whole(settings.get("n_ctx") if isinstance(settings, dict) else None) or context
            version = props.get("build_info") if isinstance(props.get("build_info"), str) else None
    if dialect in ("vllm", "ollama", "plain"):
        for path, kind in (("/version", "vllm"), ("/api/version", "ollama")):
            said = await _get(address, address.root + path, key)
            if isinstance(said, dict) and isinstance(said.get("version"), str):
                version, dialect = said["version"], dialect if dialect != "plain" else kind  # type: ignore[assignment]
                break
    return ServerInfo(address.url, dialect, version, names, context, slots, problem)


async def tokenize(address: Address, text: str, key: Secret | None = None, model: str | None = None) -> list[int]:
    """Token ids of a text, from llama.cpp's or vLLM's ``/tokenize``.

    Raises:
        CapabilityError: The server has no such route.
    """
    body = {"content": text, "prompt": text, **({"model": model} if model else {})}
    answer = await _send(address, f"{address.root}/tokenize", key, body)
    tokens = answer.get("tokens") if isinstance(answer, dict) else None
    if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
        raise CapabilityError(f"{address} does not tokenize; llama.cpp and vLLM do. It said: {_short(answer)}")
    return tokens


async def load_lora(address: Address, name: str, path: str, key: Secret | None = None) -> None:
    """Make a running vLLM server serve an adapter under a name of its own.

    The server must be started with ``--enable-lora`` and ``VLLM_ALLOW_RUNTIME_LORA_UPDATING=1``.

    Args:
        address: Of the server.
        name: What the tuned model is to be called.
        path: Folder of the adapter, as the *server* sees it.
        key: Of the server.

    Raises:
        CapabilityError: The server cannot, or does not allow it.
    """
    answer = await _send(
        address, f"{address.url}/load_lora_adapter", key, {"lora_name": name, "lora_path": path}, text=True
    )
    if not isinstance(answer, str) or "success" not in answer.lower():
        raise CapabilityError(
            f"{address} did not load the adapter {name!r}: {_short(answer)}. It has to be vLLM, started with "
            f"--enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"
        )


def _owner(listed: Any) -> Dialect | None:
    owners = (entry.get("owned_by") for entry in _entries(listed))
    return next((_OWNERS[owner] for owner in owners if isinstance(owner, str) and owner in _OWNERS), None)


def _entries(listed: Any) -> list[dict[str, Any]]:
    data = listed.get("data") if isinstance(listed, dict) else None
    return [entry for entry in data if isinstance(entry, dict)] if isinstance(data, list) else []


def _context(entry: dict[str, Any]) -> int | None:
    meta = entry.get("meta")
    return _whole(entry.get("max_model_len")) or _whole(meta.get("n_ctx") if isinstance(meta, dict) else None)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


async def _get(address: Address, url: str, key: Secret | None) -> Any:
    """The JSON at an address, or the reason in words why there is none."""
    try:
        return await _exchange(address, "GET", url, key, None, text=False)
    except BackendError as error:
        return str(error)


async def _send(address: Address, url: str, key: Secret | None, body: dict[str, Any], *, text: bool = False) -> Any:
    try:
        return await _exchange(address, "POST", url, key, body, text=text)
    except BackendError as error:
        return {"error": str(error)}


async def _exchange(
    address: Address, method: str, url: str, key: Secret | None, body: dict[str, Any] | None, *, text: bool
) -> Any:
    import httpx

    headers = {}
    if key is not None:
        headers = {"api-key": key.reveal()} if address.dialect == "azure" else {"Authorization": _bearer(key)}
    try:
        async with httpx.AsyncClient(
            timeout=_PATIENCE, trust_env=not address.is_local, verify=address.is_secure
        ) as client:
            answer = await client.request(method, url, headers=headers, json=body)
        if answer.status_code >= 400:
            raise BackendError(scrub(f"{url} answered {answer.status_code}: {answer.text}", 200))
        return answer.text if text else answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise BackendError(scrub(f"{url}: {type(error).__name__}: {error}", 200)) from None


def _bearer(key: Secret) -> str:
    return f"Bearer {key.reveal()}"


def _short(answer: Any) -> str:
    error = answer.get("error") if isinstance(answer, dict) else answer
    return scrub(str(error), 200)
