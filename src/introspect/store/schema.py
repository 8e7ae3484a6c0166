"""The shape of a study file."""

from __future__ import annotations

__all__ = ["APPLICATION_ID", "SCHEMA", "SCHEMA_VERSION"]

APPLICATION_ID = 0x49535054
"""Marks a SQLite file as ours ("ISPT"), so that no other program's database is written into."""

SCHEMA_VERSION = 1
"""Raised with every change of the tables below; files of an older version are then brought up to date on
opening."""

# A model's description may hold all its parameters, so it is kept once and not with each of its replies.
SCHEMA = (
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
