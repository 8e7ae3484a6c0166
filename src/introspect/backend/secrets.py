"""Keys that cannot be printed by accident, and text from which keys have been taken out."""

from __future__ import annotations

import hmac
import os
import re
import threading
from collections.abc import Mapping
from typing import Never
from urllib.parse import quote, urlsplit
from weakref import WeakSet

from introspect.errors import ConfigError

__all__ = ["Secret", "holds_secret", "key_from_environment", "key_names", "scrub"]

_HIDDEN = "***"
_SHORTEST = 8  # a shorter value is also an ordinary word, and taking it out would garble text

# Every living secret, so that `scrub` finds it also in the words of a server that repeats it.
_living: WeakSet[Secret] = WeakSet()
_lock = threading.Lock()


class Secret:
    """A key. Its repr, its format and what is logged of it show stars; it cannot be pickled or copied into JSON.

    Two secrets are never equal: compare with `matches`, which takes the same time whatever is given.

    Args:
        value: The key itself. White space around it, as a file or a shell leaves it, is removed.

    Raises:
        ConfigError: It is empty, or holds what no HTTP header can carry; the message does not show it.

    Example:
        >>> key = Secret("sk-planted-1234567890")
        >>> key, f"{key}", key.matches("sk-planted-1234567890")
        (Secret('***'), '***', True)
        >>> scrub("401: bad key sk-planted-1234567890")
        '401: bad key ***'
    """

    __slots__ = ("__weakref__", "_value")

    def __init__(self, value: str) -> None:
        stripped = value.strip() if isinstance(value, str) else ""
        if not stripped:
            raise ConfigError("a key must be a non-empty string; got nothing that can be one")
        if not (stripped.isascii() and stripped.isprintable()):
            raise ConfigError(
                "a key must be printable ASCII, for it travels in an HTTP header; the given one holds other "
                "characters (a line break in the middle, or a typographic dash?)"
            )
        self._value = stripped
        with _lock:
            _living.add(self)

    def reveal(self) -> str:
        """The key itself. Hand it to the client that sends it, and keep it nowhere else."""
        return self._value

    def matches(self, given: str) -> bool:
        """Whether a text is this key."""
        return hmac.compare_digest(self._value.encode(), given.encode("utf-8", "surrogatepass"))

    def __repr__(self) -> str:
        return f"Secret('{_HIDDEN}')"

    def __str__(self) -> str:
        return _HIDDEN

    def __format__(self, spec: str) -> str:
        return _HIDDEN

    def __reduce__(self) -> Never:
        raise TypeError("a Secret is neither stored nor sent to another process")


_NAMES = r"\b(?:(?:proxy-)?authorization|[a-z_-]*api[-_]?key|[a-z-]*subscription-key|(?:set-)?cookie)"
_PATTERNS = (
    # A user name and password before the host of an address.
    (re.compile(r"([a-z][a-z0-9+.-]*://)[^/?#\s\"'<>]+@", re.IGNORECASE), rf"\1{_HIDDEN}@"),
    # Keys and signatures in a query.
    (
        re.compile(
            r"([?&;](?:[a-z_-]*key|[a-z_-]*token|sig|signature|secret|password|code)=)[^&\s\"'<>#]+", re.IGNORECASE
        ),
        rf"\1{_HIDDEN}",
    ),
    (re.compile(r"\b(bearer|basic)\s+[^\s\"',;}]{4,}", re.IGNORECASE), rf"\1 {_HIDDEN}"),
    # Headers and assignments, as they look in a repr, in JSON and in a raw request.
    (
        re.compile(rf"({_NAMES}b?[\"']?\s*[:=,]\s*b?)([\"'])(?:(?!\2).)*\2", re.IGNORECASE | re.DOTALL),
        rf"\1\2{_HIDDEN}\2",
    ),
    (
        re.compile(rf"({_NAMES}\s*[:=]\s*)(?:(?:bearer|basic)\s+)?[^\s\"',;)}}\]]+", re.IGNORECASE),
        rf"\1{_HIDDEN}",
    ),
    # Keys of well-known services by their looks, for those that were never wrapped in a Secret.
    (
        re.compile(r"\b(?:sk|pk|rk|gsk|hf|fw|tgp|xai|r8|nvapi)[-_][A-Za-z0-9_*-]{16,}"),
        _HIDDEN,
    ),
)


def scrub(text: str, limit: int | None = None) -> str:
    """The text without keys: those held by any living `Secret`, and what looks like one in addresses and headers.

    Args:
        text: A server's message, an address, a traceback.
        limit: Cut to so many characters, after the keys are out (a cut key would no longer be recognised).

    Example:
        >>> scrub("GET https://me:pass@host/v1?api-key=abc failed")
        'GET https://***@host/v1?api-key=*** failed'
        >>> scrub("{'Authorization': 'Bearer abcdef'}")
        "{'Authorization': '***'}"
    """
    with _lock:
        values = {secret.reveal() for secret in _living}
    # The longest first: one key may begin with another.
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _SHORTEST:
            for written in {value, quote(value, safe=""), value.replace("\\", "\\\\").replace('"', '\\"')}:
                text = text.replace(written, _HIDDEN)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    if limit is not None and len(text) > limit:
        text = text[: max(limit - 1, 0)] + "…"
    return text


_KEY_LIKE = re.compile(r"(^|_)(API_?KEY|TOKEN|SECRET|PASSWORD)(_|$)")
_SHORTEST_IN_BYTES = 12  # in a file of any kind, where a short value would be met by chance


def holds_secret(data: bytes, environ: Mapping[str, str] | None = None) -> bool:
    """Whether bytes hold a key that this process knows: of a living `Secret`, or in a variable that is named like one.

    Example:
        >>> holds_secret(b"... sk-planted-1234567890 ...", {"MY_API_KEY": "sk-planted-1234567890"})
        True
    """
    env = os.environ if environ is None else environ
    with _lock:
        values = {secret.reveal() for secret in _living}
    values |= {value.strip() for name, value in env.items() if _KEY_LIKE.search(name.upper())}
    return any(len(value) >= _SHORTEST_IN_BYTES and value.encode() in data for value in values)


# Where services tell their users to put the key. Only for hosts that belong to the service: a key must never be
# sent to a server that it was not made for.
_SERVICES = {
    "api.openai.com": "OPENAI_API_KEY",
    "openai.azure.com": "AZURE_OPENAI_API_KEY",
    "cognitiveservices.azure.com": "AZURE_OPENAI_API_KEY",
    "services.ai.azure.com": "AZURE_OPENAI_API_KEY",
    "api.together.xyz": "TOGETHER_API_KEY",
    "api.together.ai": "TOGETHER_API_KEY",
    "api.fireworks.ai": "FIREWORKS_API_KEY",
    "openrouter.ai": "OPENROUTER_API_KEY",
}


def key_names(url: str, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Environment variables that may hold the key for a server, the first that is set wins.

    A variable of the host's own comes first, then the host and port's, then the one that the service itself names.
    ``OPENAI_API_KEY`` belongs to api.openai.com and to the address in ``OPENAI_BASE_URL``; it is sent nowhere else.

    Example:
        >>> key_names("https://api.openai.com/v1", {})
        ('INTROSPECT_API_KEY_API_OPENAI_COM', 'OPENAI_API_KEY')
        >>> key_names("http://localhost:8000/v1", {})
        ('INTROSPECT_API_KEY_LOCALHOST_8000', 'INTROSPECT_API_KEY_LOCALHOST')
    """
    env = os.environ if environ is None else environ
    parts = urlsplit(url)
    host = parts.hostname or ""
    names = [f"{host}:{parts.port}"] if parts.port else []
    found = ["INTROSPECT_API_KEY_" + re.sub(r"[^A-Z0-9]", "_", name.upper()) for name in (*names, host)]
    found += [name for service, name in _SERVICES.items() if host == service or host.endswith("." + service)]
    if "OPENAI_API_KEY" not in found and env.get("OPENAI_BASE_URL", "").rstrip("/") == url.rstrip("/"):
        found.append("OPENAI_API_KEY")
    return tuple(found)


def key_from_environment(url: str, environ: Mapping[str, str] | None = None) -> Secret | None:
    """The key for a server, or None where the environment holds none.

    Raises:
        ConfigError: A variable is set to what cannot be a key.

    Example:
        >>> key_from_environment("https://api.openai.com/v1", {"OPENAI_API_KEY": "sk-1234567890"})
        Secret('***')
        >>> key_from_environment("https://elsewhere.example/v1", {"OPENAI_API_KEY": "sk-1234567890"}) is None
        True
    """
    env = os.environ if environ is None else environ
    for name in key_names(url, env):
        if env.get(name, "").strip():
            try:
                return Secret(env[name])
            except ConfigError as error:
                raise ConfigError(f"the environment variable {name}: {error}") from None
    return None
