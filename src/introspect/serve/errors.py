"""Errors as OpenAI words them, so that clients written for it understand them."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from introspect.errors import IntrospectError

__all__ = ["ApiError", "bad_request", "error_body", "not_found", "of_validation"]


class ApiError(IntrospectError):
    """What a client is told: a status and OpenAI's error object.

    Args:
        status: HTTP status.
        message: What was given, what was expected, what to do.
        code: Machine-readable reason.
        param: The field that is at fault.
    """

    def __init__(self, status: int, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param

    @property
    def body(self) -> dict[str, Any]:
        """The response's JSON."""
        return error_body(self.status, self.message, self.code, self.param)


def error_body(status: int, message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """OpenAI's error object.

    Example:
        >>> error_body(400, "no", "why")["error"]["type"]
        'invalid_request_error'
    """
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def bad_request(message: str, param: str | None = None, code: str | None = "invalid_value") -> ApiError:
    """Status 400."""
    return ApiError(400, message, code, param)


def not_found(kind: str, name: str, param: str | None = "id") -> ApiError:
    """Status 404 for a thing that has a name."""
    return ApiError(404, f"No such {kind}: {name[:100]!r}", "not_found", param)


def of_validation(error: ValidationError) -> ApiError:
    """The first thing that is wrong with a request, with the path of its field."""
    first = error.errors()[0]
    # Names of union members are pydantic's own; the client only knows fields and numbers.
    path = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or "[" not in part)
    if first["type"] == "extra_forbidden":
        return ApiError(400, f"Unrecognized request argument supplied: {path}", "unknown_parameter", path)
    if first["type"] == "missing":
        return ApiError(400, f"Missing required parameter: {path!r}.", "missing_required_parameter", path)
    return ApiError(400, f"Invalid value for {path!r}: {first['msg']}", "invalid_value", path or None)
