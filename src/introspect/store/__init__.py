"""One SQLite file that keeps what a study has paid for, whatever happens to the process."""

from __future__ import annotations

from introspect.store.archive import ArchiveHeader, pack_study, unpack_study
from introspect.store.connection import Durability
from introspect.store.lock import FolderLock
from introspect.store.replies import ReplyRow
from introspect.store.schema import SCHEMA_VERSION
from introspect.store.stages import StageRecord
from introspect.store.store import StepRecord, Store

__all__ = [
    "SCHEMA_VERSION",
    "ArchiveHeader",
    "Durability",
    "FolderLock",
    "ReplyRow",
    "StageRecord",
    "StepRecord",
    "Store",
    "pack_study",
    "unpack_study",
]
