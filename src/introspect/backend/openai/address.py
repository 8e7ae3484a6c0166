"""Where a server is, and which of its ways differ from OpenAI's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, urlsplit, urlunsplit

from introspect.backend.secrets import scrub
from introspect.errors import ConfigError

__all__ = ["OPENAI_URL", "Address", "Dialect"]

OPENAI_URL = "https://api.openai.com/v1"

Dialect = Literal["openai", "azure", "openrouter", "together", "fireworks", "vllm", "llama.cpp", "ollama", "plain"]
"""Whose extensions a server understands; "plain" for those that nothing is known of."""

_SERVICES: tuple[tuple[str, Dialect], ...] = (
    ("api.openai.com", "openai"),
    ("openai.azure.com", "azure"),
    ("cognitiveservices.azure.com", "azure"),
    ("services.ai.azure.com", "azure"),
    ("openrouter.ai", "openrouter"),
    ("api.together.xyz", "together"),
    ("api.together.ai", "together"),
    ("api.fireworks.ai", "fireworks"),
)
_AZURE_VERSION = "2024-10-21"


@dataclass(frozen=True)
class Address:
    """The base address of an OpenAI-compatible server.

    Attributes:
        url: As the SDK wants it, without a slash at the end.
        dialect: Known from the host; "plain" where it has to be found out.
        api_version: Of Azure's older interface, whose addresses name a deployment; None elsewhere.

    Example:
        >>> Address.of("http://localhost:8000").url
        'http://localhost:8000/v1'
        >>> Address.of("https://mine.openai.azure.com?api-version=2024-10-21").dialect
        'azure'
    """

    url: str
    dialect: Dialect
    api_version: str | None = None

    @classmethod
    def of(cls, url: str | None) -> Address:
        """Read an address; ``OPENAI_BASE_URL``, else OpenAI's own, where none is given.

        Raises:
            ConfigError: It is no http(s) address, or a key stands in it, where logs would show it.
        """
        given = (url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL).strip()
        try:
            parts = urlsplit(given)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            parts, host, port = urlsplit(""), "", None
        if parts.scheme not in ("http", "https") or not host:
            raise ConfigError(
                f"{scrub(given)!r} is not the address of a server; give one like http://localhost:8000/v1"
            )
        query = parse_qs(parts.query)
        if parts.username or parts.password or set(query) - {"api-version"} or parts.fragment:
            raise ConfigError(
                f"the address {scrub(given)} holds more than scheme, host and path. Put a key into the environment "
                f"variable of that host (see docs/hosted-models.md) and leave it out of the address"
            )
        dialect: Dialect = next((d for s, d in _SERVICES if host == s or host.endswith("." + s)), "plain")
        netloc = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
        path = parts.path.rstrip("/")
        version = None
        if dialect == "azure" and not path.endswith("/v1"):
            path = path.removesuffix("/openai")
            version = query.get("api-version", [os.environ.get("OPENAI_API_VERSION") or _AZURE_VERSION])[0]
        elif not path:
            path = "/v1"
        return cls(urlunsplit((parts.scheme, netloc, path, "", "")), dialect, version)

    @property
    def root(self) -> str:
        """The server's own root, where its non-OpenAI routes are."""
        return self.url.removesuffix("/v1")

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine."""
        host = urlsplit(self.url).hostname or ""
        return host == "localhost" or host == "::1" or host.startswith("127.")

    @property
    def is_secure(self) -> bool:
        """Whether what is said to the server is encrypted."""
        return self.url.startswith("https:")

    def __str__(self) -> str:
        return self.url
