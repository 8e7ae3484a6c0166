"""A study in one zip file that can be handed on, and read without trusting whoever made it."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from introspect._version import __version__
from introspect.errors import StoreError
from introspect.store.schema import APPLICATION_ID, SCHEMA
from introspect.store.store import Store

__all__ = ["LARGEST", "ArchiveHeader", "pack_study", "unpack_study"]

LARGEST = 8 * 2**30
"""Bytes that an archive may unpack to, unless the caller allows more."""

_FORMAT, _VERSION = "introspect-study", 1
_HEADER, _DATABASE, _RESULT = "study.json", "study.db", "result.json"
_HEADER_LIMIT = 2**20
_CHUNK = 2**20

# What zipfile lets through from bytes that are not what they should be.
_DAMAGED = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class ArchiveHeader:
    """What an archive says about itself.

    Attributes:
        introspect: Version that made it.
        files: SHA-256 and size in bytes of each file in it.
    """

    introspect: str
    files: dict[str, tuple[str, int]]


def pack_study(folder: Path | str, target: Path | str, check: Callable[[bytes], None] | None = None) -> ArchiveHeader:
    """Write a study's database and result into one zip file. The weights of trained models stay where they are.

    The folder is only read, and may be one that cannot be written to. The target is there as a whole or not at all.

    Args:
        folder: The study's.
        target: The zip file.
        check: Looks at every piece of what goes in, and raises where it must not. Pieces overlap by 4 KiB.

    Raises:
        StoreError: There is no finished study, or the target cannot be written.
    """
    folder, target = Path(folder).expanduser(), Path(target).expanduser()
    for name in (_DATABASE, _RESULT):
        if not (folder / name).is_file():
            raise StoreError(f"{folder} holds no finished study: {name} is missing; run the study to its end first")
    if target.is_dir():
        raise StoreError(f"{target} is a folder, expected a file; give for example {target / 'STUDY.zip'}")
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".introspect-") as work:
            database = Path(work) / _DATABASE
            _snapshot(folder / _DATABASE, database)
            sources = {_DATABASE: database, _RESULT: folder / _RESULT}
            files = {name: _digest(path, check) for name, path in sources.items()}
            header = {
                "format": _FORMAT,
                "version": _VERSION,
                "introspect": __version__,
                "files": {name: {"sha256": digest, "bytes": size} for name, (digest, size) in files.items()},
            }
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
                archive.writestr(_entry(_HEADER), json.dumps(header, indent=1) + "\n")
                for name, path in sources.items():
                    with path.open("rb") as source, archive.open(_entry(name), "w", force_zip64=True) as entry:
                        _copy(source, entry.write)
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(target)
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return ArchiveHeader(__version__, files)


def unpack_study(archive: Path | str, folder: Path | str, largest: int = LARGEST) -> ArchiveHeader:
    """Put the database and the result of an archive into a folder.

    Nothing in the archive is believed: only the files that an export has are read, by their own names; each must have
    the size and hash that the header gives; the database must have exactly the tables of a study file, and no views or
    triggers.

    Args:
        archive: The zip file.
        folder: Where to; made if it is not there.
        largest: Bytes that it may unpack to.

    Raises:
        StoreError: It is not an export, is damaged, is too large, or was made by a newer introspect.
    """
    archive, folder = Path(archive).expanduser(), Path(folder).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(archive) as opened:
            header = _read_header(opened, archive)
            total = sum(size for _, size in header.files.values())
            if total > largest:
                raise StoreError(f"{archive} would unpack to {total:,} bytes, and {largest:,} are allowed")
            for name, (digest, size) in header.files.items():
                _unpack(opened, name, folder / name, digest, size, archive)
    except FileNotFoundError:
        raise StoreError(f"there is no file {archive}; check the path") from None
    except _DAMAGED as error:
        raise StoreError(f"{archive} is not an export of a study, or is damaged: {error}") from error
    except OSError as error:
        raise StoreError(f"{archive} cannot be unpacked to {folder}: {error.strerror or error}") from error
    except ValueError as error:  # of odd names and numbers
        raise StoreError(f"{archive} is not an export of a study: {error}") from error
    _check_shape(folder / _DATABASE, archive)
    return header


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # without the time of day: equal studies make equal archives
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _snapshot(source: Path, target: Path) -> None:
    """A copy of the database in one file, also of one that is in use or cannot be written to."""
    Store.check(source)
    try:
        uri = source.resolve().as_uri()
        wal = source.with_name(source.name + "-wal")
        # Without a log, nobody has it open; immutable then needs no file beside it.
        mode = "mode=ro" if wal.exists() and wal.stat().st_size else "immutable=1"
        with closing(sqlite3.connect(f"{uri}?{mode}", uri=True)) as connection:
            connection.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.Error as error:
        raise StoreError(f"{source} cannot be copied (SQLite: {error})") from error
    with Store.open(target):
        pass  # brought up to date
    with closing(sqlite3.connect(target)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")


def _copy(source: IO[bytes], write: Callable[[bytes], Any]) -> None:
    while chunk := source.read(_CHUNK):
        write(chunk)


def _digest(path: Path, check: Callable[[bytes], None] | None) -> tuple[str, int]:
    digest, size, tail = hashlib.sha256(), 0, b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if check is not None:
                check(tail + chunk)
                tail = chunk[-4096:]
    return digest.hexdigest(), size


def _read_header(opened: zipfile.ZipFile, archive: Path) -> ArchiveHeader:
    names = [info.filename for info in opened.infolist()]
    odd = [name for name in names if name not in (_HEADER, _DATABASE, _RESULT)]
    if odd or len(set(names)) != len(names):
        what = f"holds {odd[0]!r:.80}" if odd else "holds a name twice"
        raise StoreError(f"{archive} {what}, which no export does; it was not made by introspect, or was changed")
    if len(names) != 3:
        raise StoreError(f"{archive} is not an export of a study: it holds {', '.join(names) or 'nothing'}")
    with opened.open(_HEADER) as file:
        text = file.read(_HEADER_LIMIT + 1)
    try:
        header = json.loads(text if len(text) <= _HEADER_LIMIT else b"")
        if header["format"] != _FORMAT:
            raise ValueError(header["format"])
        version, files = int(header["version"]), header["files"]
        found = {name: (str(files[name]["sha256"]), int(files[name]["bytes"])) for name in (_DATABASE, _RESULT)}
        made_by = str(header["introspect"])[:40]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"{archive} is not an export of a study: its {_HEADER} cannot be read") from error
    if version > _VERSION:
        raise StoreError(
            f"{archive} was written by a newer introspect ({made_by}; export format {version}, this one knows up to "
            f"{_VERSION}); install a newer introspect"
        )
    if any(size < 0 for _, size in found.values()):
        raise StoreError(f"{archive} is not an export of a study: a file in it has a negative size")
    return ArchiveHeader(made_by, found)


def _unpack(opened: zipfile.ZipFile, name: str, target: Path, digest: str, size: int, archive: Path) -> None:
    seen, left = hashlib.sha256(), size
    try:
        with opened.open(name) as source, target.open("wb") as file:
            # Read to one byte beyond what was promised, so that a bomb goes no further.
            while chunk := source.read(min(_CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    break
                seen.update(chunk)
                file.write(chunk)
    except zlib.error as error:
        raise StoreError(f"{archive}: {name} is damaged ({error})") from error
    if left or seen.hexdigest() != digest:
        raise StoreError(f"{archive}: {name} does not have the size and hash that the export was made with")


def _check_shape(database: Path, archive: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as blank:
        for statement in SCHEMA:
            blank.execute(statement)
        ours = set(blank.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("PRAGMA trusted_schema=OFF")
            theirs = set(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            sound = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        raise StoreError(f"{archive}: its database cannot be read (SQLite: {error})") from error
    if application != APPLICATION_ID:
        raise StoreError(f"{archive}: its database is not a study file")
    if sound != "ok":
        raise StoreError(f"{archive}: its database is damaged ({sound})")
    if theirs != ours:
        with suppress(StoreError):
            Store.open(database).close()  # a newer one says so
        odd = sorted(f"{kind} {name}" for kind, name, _, _ in theirs ^ ours)
        raise StoreError(f"{archive}: its database does not have the tables of a study file ({', '.join(odd)[:200]})")
