"""The shape of a study file."""

from __future__ import annotations

__all__ = ["APPLICATION_ID", "MIGRATIONS", "SCHEMA", "SCHEMA_VERSION"]

APPLICATION_ID = 0x49535054
"""Marks a SQLite file as ours ("ISPT"), so that no other program's database is written into."""

SCHEMA_VERSION = 2
"""Raised with every change of the tables below; files of an older version are then brought up to date on
opening."""

# A model's description may hold all its parameters, so it is kept once and not with each of its replies.
_FIRST = (
    """CREATE TABLE models (
        key TEXT PRIMARY KEY,
        model TEXT NOT NULL
    )""",
    """CREATE TABLE replies (
        number INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        request TEXT NOT NULL,
        reply TEXT NOT NULL,
        model_key TEXT NOT NULL,
        checksum BLOB NOT NULL,
        created REAL NOT NULL
    )""",
    """CREATE TABLE steps (
        number INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        version INTEGER NOT NULL,
        inputs TEXT NOT NULL,
        result TEXT NOT NULL,
        checksum BLOB NOT NULL,
        seconds REAL NOT NULL,
        created REAL NOT NULL
    )""",
    """CREATE TABLE tables (
        key TEXT PRIMARY KEY,
        npz BLOB NOT NULL,
        checksum BLOB NOT NULL,
        created REAL NOT NULL
    )""",
    """CREATE TABLE blobs (
        digest TEXT PRIMARY KEY,
        data BLOB NOT NULL,
        created REAL NOT NULL
    )""",
    """CREATE TABLE manifest (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    )""",
)

# What came with version 2: work that outlives the process (jobs), when stages ran and how they ended, and the failed
# replies that a finished stage went on without.
_SECOND = (
    """CREATE TABLE jobs (
        key TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        checksum BLOB NOT NULL,
        created REAL NOT NULL,
        updated REAL NOT NULL
    )""",
    """CREATE TABLE stages (
        number INTEGER PRIMARY KEY,
        step TEXT NOT NULL,
        name TEXT NOT NULL,
        process TEXT NOT NULL,
        began REAL NOT NULL,
        ended REAL,
        outcome TEXT NOT NULL,
        error TEXT
    )""",
    """CREATE TABLE failures (
        key TEXT PRIMARY KEY,
        request TEXT NOT NULL,
        reply TEXT NOT NULL,
        model_key TEXT NOT NULL,
        checksum BLOB NOT NULL,
        created REAL NOT NULL
    )""",
)

MIGRATIONS = {2: _SECOND}
"""What brings a file of the version before to this one."""

SCHEMA = _FIRST + _SECOND
