"""One SQLite file that keeps what a study has paid for, whatever happens to the process."""

from __future__ import annotations

from introspect.store.schema import SCHEMA_VERSION
from introspect.store.store import ReplyRow, StepRecord, Store

__all__ = ["SCHEMA_VERSION", "ReplyRow", "StepRecord", "Store"]
