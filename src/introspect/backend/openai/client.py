"""The official SDK's client, with our timeouts, limits and proxies, and without what it would take from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from introspect.backend.openai.address import Address
from introspect.backend.secrets import Secret, key_from_environment, key_names
from introspect.errors import FatalBackendError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["make_client", "needed_key"]

_NO_KEY = "none"  # what servers without keys are told; the SDK insists on something


def needed_key(address: Address, key: Secret | str | None = None) -> Secret | None:
    """The key for a server: the one given, else the environment's; None for servers that may not need one.

    Raises:
        FatalBackendError: A service that is known to need a key, and there is none.
    """
    if key is not None:
        return key if isinstance(key, Secret) else Secret(key)
    found = key_from_environment(address.url)
    if found is None and address.dialect in ("openai", "azure", "openrouter", "together", "fireworks"):
        names = " or ".join(key_names(address.url)[::-1])
        raise FatalBackendError(f"there is no key for {address}: set the environment variable {names}")
    return found


def make_client(
    address: Address,
    key: Secret | None,
    *,
    timeout: float = 300.0,
    connect_timeout: float = 10.0,
    proxy: str | None = None,
) -> AsyncOpenAI:
    """A client of the SDK that never asks twice by itself.

    Args:
        address: Of the server.
        key: None for a server without keys.
        timeout: Seconds without a byte of the answer.
        connect_timeout: Seconds until a connection stands.
        proxy: Address of a proxy; by default those of the environment (``HTTPS_PROXY``, ``NO_PROXY``) are used,
            except for servers on this machine.
    """
    # Here and not above: the SDK takes longer to import than all the rest.
    import httpx2
    from openai import AsyncAzureOpenAI, AsyncOpenAI, DefaultAsyncHttpxClient, Timeout

    http = DefaultAsyncHttpxClient(
        timeout=Timeout(timeout, connect=connect_timeout, pool=None),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
        proxy=proxy,
        trust_env=not address.is_local,
        # Without TLS there is no certificate to check, and reading the list of authorities takes a while.
        verify=address.is_secure,
        follow_redirects=address.is_secure,
    )
    revealed = _NO_KEY if key is None else key.reveal()
    if address.api_version is not None:
        return AsyncAzureOpenAI(
            azure_endpoint=address.url,
            api_version=address.api_version,
            api_key=revealed,
            max_retries=0,
            http_client=http,
        )
    client = AsyncOpenAI(base_url=address.url, api_key=revealed, admin_api_key="", max_retries=0, http_client=http)
    if address.dialect != "openai":
        # Which the SDK took from the environment, where they were meant for OpenAI.
        client.organization = client.project = None
    return client
