"""The connection to Tinker, and what its errors mean."""

from __future__ import annotations

import os
from typing import Any

from introspect.backend.failures import Failure, FailureKind
from introspect.backend.secrets import Secret, scrub
from introspect.errors import FatalBackendError, MissingExtraError

__all__ = ["KEY", "connect", "sdk", "sort_error"]

KEY = "TINKER_API_KEY"


def sdk() -> Any:
    """The SDK.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import tinker
    except ImportError as error:
        raise MissingExtraError(error.name or "tinker", "tinker") from error
    return tinker


def connect(address: str | None = None) -> Any:
    """A client of the service.

    Args:
        address: Of the service; the SDK's own by default.

    Raises:
        FatalBackendError: There is no key.
        MissingExtraError: The extra ``tinker`` is not installed.
    """
    library = sdk()
    value = os.environ.get(KEY)
    if not value:
        raise FatalBackendError(f"there is no key for Tinker: set the environment variable {KEY}")
    key = Secret(value)
    return library.ServiceClient(base_url=address, api_key=key.reveal())


def sort_error(error: Exception) -> Failure | FatalBackendError:
    """What an error of the SDK means: a failure of one request, or the end of all."""
    library = sdk()
    if isinstance(error, library.AuthenticationError | library.PermissionDeniedError | library.BillingError):
        name = type(error).__name__.removesuffix("Error").lower()
        return FatalBackendError(f"Tinker refuses ({name}): {scrub(str(error), 300)}. Check {KEY} and the account")
    if isinstance(error, library.NotFoundError):
        return FatalBackendError(f"Tinker does not know this model: {scrub(str(error), 300)}")
    kinds: tuple[tuple[Any, FailureKind], ...] = (
        (library.APITimeoutError, "timeout"),
        (TimeoutError, "timeout"),
        (library.APIConnectionError, "connection"),
        (library.RateLimitError, "rate limited"),
        (library.InternalServerError, "server error"),
        (library.BadRequestError, "refused"),
        (library.UnprocessableEntityError, "refused"),
    )
    for kind, meaning in kinds:
        if isinstance(error, kind):
            return Failure(meaning)
    return Failure("server error")
