"""Why a fine-tuning service said no, in sentences that say what to do or to use instead."""

from __future__ import annotations

from typing import Any

from introspect.backend.openai.address import Address
from introspect.backend.secrets import scrub
from introspect.errors import TrainingError

__all__ = ["failed_job", "passing", "training_error"]

_LONGEST = 400
_INSTEAD = (
    'Train an open-weight model on this machine instead (provider "transformers", extra local; or introspect serve, '
    "which takes the same requests), or a model on Azure OpenAI, whose fine-tuning goes on"
)
_CLOSED = (
    "OpenAI closed fine-tuning on 2026-05-07 to organisations that had not used it, on 2026-07-02 to those that no "
    f"longer did, and closes it to all on 2027-01-06. {_INSTEAD}"
)
_CREDIT = ("insufficient_quota", "exceeded_quota", "billing", "out of credit", "insufficient_balance", "credit balance")
_CLOSING = ("wind down", "winding down", "wound down", "no longer available to", "not accepting new", "self-serve")
_RETIRED = (
    "not available for fine-tuning",
    "not supported for fine-tuning",
    "does not support fine-tuning",
    "cannot be fine-tuned",
    "can't be fine-tuned",
    "model_not_available",
    "model_not_found",
    "deprecated",
    "retired",
    "does not exist",
)
_FILE = ("invalid_training_file", "invalid_file", "training_file", "invalid_jsonl", "file format", "invalid_n_examples")


def passing(error: Exception) -> bool:
    """Whether the same call may succeed a little later."""
    from openai import APIConnectionError, APIStatusError

    if isinstance(error, APIConnectionError):  # timeouts are among them
        return True
    if not isinstance(error, APIStatusError):
        return False
    status, words = error.status_code, _words(error)
    if status == 429:
        return not any(sign in words for sign in _CREDIT)
    return status in (408, 409, 425) or status >= 500


def training_error(error: Exception, address: Address, model: str, doing: str) -> TrainingError:
    """What the SDK raised while a model was to be trained, as a sentence.

    Args:
        error: From the SDK.
        address: Of the service.
        model: Which was to be trained.
        doing: What was being done, as in "creating the job".
    """
    from openai import APIConnectionError, APIStatusError

    if isinstance(error, APIConnectionError):
        cause = error.__cause__ or error
        return TrainingError(
            f"{address} could not be reached while {doing} ({scrub(str(cause), _LONGEST) or type(cause).__name__}). "
            f"Run again: what was sent is not sent twice"
        )
    if not isinstance(error, APIStatusError):
        return TrainingError(f"{address} failed while {doing}: {type(error).__name__}: {scrub(str(error), _LONGEST)}")
    status, words, said = error.status_code, _words(error), _said(error)
    if status == 402 or any(sign in words for sign in _CREDIT):
        return TrainingError(
            f"the account at {address} is out of credit or quota: {said}. Add credit or raise the limit there, then "
            f"run again. {_INSTEAD}"
        )
    if status == 401:
        return TrainingError(f"{address} does not accept the key: {said}. Set another one and run again")
    if any(sign in words for sign in _CLOSING) or (
        address.dialect == "openai" and (status in (403, 410) or (status == 404 and "model" not in words))
    ):
        return TrainingError(f"{address} does not let this organisation fine-tune: {said}. {_CLOSED}")
    if status == 403:
        more = " (on Azure the role Cognitive Services OpenAI Contributor)" if address.dialect == "azure" else ""
        return TrainingError(f"{address} does not permit this key to fine-tune{more}: {said}. {_INSTEAD}")
    if status in (400, 404, 422) and (param := getattr(error, "param", None)) in ("training_file", "file"):
        return TrainingError(f"{address} does not accept the training data ({param}): {said}")
    if status in (400, 404, 422) and "model" in words and any(sign in words for sign in _RETIRED):
        return TrainingError(
            f"{address} does not fine-tune {model!r} (retired, or never on offer): {said}. Choose a model that it "
            f"lists for fine-tuning. {_INSTEAD}"
        )
    if status in (404, 405, 501):
        return TrainingError(
            f"{address} has no fine-tuning: {said}. Give the address of a server that has it, as introspect serve"
        )
    if status == 413 or any(sign in words for sign in _FILE):
        return TrainingError(f"{address} does not accept the training data: {said}")
    if status == 429:
        return TrainingError(
            f"{address} takes no further jobs now: {said}. Wait until running ones are done, then run again"
        )
    return TrainingError(f"{address} answered {status} while {doing}: {said}")


def failed_job(job: Any, address: Address) -> TrainingError:
    """A job that ended without a model."""
    if job.status == "cancelled":
        return TrainingError(f"fine-tuning job {job.id} at {address} was cancelled. Run again to begin another")
    found = job.error
    code, said = str(getattr(found, "code", "") or ""), scrub(str(getattr(found, "message", "") or ""), _LONGEST)
    where = f"fine-tuning job {job.id} at {address} failed ({code or 'no code'}): {said or 'no reason given'}"
    words = f"{code} {said}".lower()
    if any(sign in words for sign in _CREDIT):
        return TrainingError(f"{where}. Add credit or raise the limit there, then run again. {_INSTEAD}")
    if any(sign in words for sign in _CLOSING):
        return TrainingError(f"{where}. {_CLOSED}")
    if any(sign in words for sign in _FILE):
        return TrainingError(f"{where}. The training data was not accepted: mend what it names, then run again")
    if "model" in words and any(sign in words for sign in _RETIRED):
        return TrainingError(f"{where}. Choose a model that is on offer for fine-tuning. {_INSTEAD}")
    return TrainingError(f"{where}. Run again to begin another")


def _words(error: Any) -> str:
    return f"{error.code or ''} {error.type or ''} {error.param or ''} {error.message} {error.body}".lower()


def _said(error: Any) -> str:
    body = error.body
    said = body.get("message") if isinstance(body, dict) else None
    text = said if isinstance(said, str) and said else str(error.message)
    return " ".join(scrub(text, _LONGEST).split()).rstrip(".") or "no reason given"
