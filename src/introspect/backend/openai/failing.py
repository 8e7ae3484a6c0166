"""What the SDK raises, sorted: dooming, worth another try, or wrong with this request; always without keys."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from typing import Any

from introspect.backend.failures import Failure, FailureKind
from introspect.backend.rates import seconds_of
from introspect.backend.secrets import scrub
from introspect.backend.wire import Reply
from introspect.errors import FatalBackendError

__all__ = ["retry_after", "sort_error"]

_NO_CREDIT = ("insufficient_quota", "billing_hard_limit", "billing_not_active", "insufficient_balance", "out of credit")
_LONGEST = 400


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a response asks to wait, from ``retry-after-ms`` or ``retry-after`` (seconds or a date).

    Example:
        >>> retry_after({"retry-after": "3"}), retry_after({"retry-after-ms": "250"}), retry_after({})
        (3.0, 0.25, None)
    """
    milliseconds = seconds_of(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    given = headers.get("retry-after")
    seconds = seconds_of(given)
    if seconds is None and given:
        try:
            seconds = max(email.utils.parsedate_to_datetime(given).timestamp() - time.time(), 0.0)
        except (ValueError, TypeError, OverflowError):
            return None
    return seconds


def sort_error(error: Exception, where: str, model: str) -> Reply | FatalBackendError:
    """A failed reply (for content held back a filtered one), or the error that dooms all further calls.

    The fatal error is returned and not raised here, so that whoever raises it can do so where neither its traceback nor
    its context holds the SDK's error, which quotes the server and may quote the key.

    Args:
        error: From the SDK.
        where: The server's address.
        model: Who was asked.
    """
    from openai import APIConnectionError, APIStatusError, APITimeoutError

    if isinstance(error, APITimeoutError | TimeoutError):
        return Failure("timeout", charged=True).reply(f"{where} did not answer in time")
    if isinstance(error, APIConnectionError):
        cause = error.__cause__
        said = f": {type(cause).__name__}: {cause}".rstrip(": ") if cause is not None else ""
        # Whether the request got there is only certain where no connection was made.
        begun = type(cause).__name__ not in ("ConnectError", "ConnectTimeout", "ProxyError", "UnsupportedProtocol")
        return Failure("connection", charged=begun).reply(f"the connection to {where} failed{said}")
    if isinstance(error, APIStatusError):
        return _refused(error, where, model)
    return Failure("unable").reply(f"{type(error).__name__}: {error}")


def _refused(error: Any, where: str, model: str) -> Reply | FatalBackendError:
    status, code, said = int(error.status_code), str(error.code or error.type or "").lower(), _said(error)
    words = f"{code} {said}".lower()
    if status == 402 or (status in (403, 429) and any(sign in words for sign in _NO_CREDIT)):
        return FatalBackendError(f"out of credit at {where}: {said}. Add credit there, then run again")
    if status == 401:
        return FatalBackendError(f"{where} does not accept the key: {said}. Set another one and run again")
    if "content_filter" in words or "content_policy" in words or (status == 403 and "moderation" in words):
        reason = scrub(f"the service's content filter refused the prompt: {said}", _LONGEST)
        return Reply(status="filtered", reason=reason)
    if status == 403:
        return FatalBackendError(f"{where} does not permit this key to use {model!r}: {said}")
    if status == 404 and "parameters" not in words:
        return FatalBackendError(
            f"{where} knows no model {model!r}, or no chat completions: {said}. "
            f"See what it serves with: introspect doctor {where}"
        )
    kind: FailureKind = "refused"
    if status == 429:
        kind = "rate limited"
    elif status in (503, 529):
        kind = "overloaded"
    elif status in (408, 409, 425) or status >= 500:
        kind = "server error"
    return Failure(kind, retry_after=retry_after(error.response.headers)).reply(f"{where} answered {status}: {said}")


def _said(error: Any) -> str:
    body = error.body
    said = body.get("message") if isinstance(body, dict) else None
    text = said if isinstance(said, str) and said else str(error.message)
    return " ".join(scrub(text, _LONGEST).split()).rstrip(".") or "no reason given"
