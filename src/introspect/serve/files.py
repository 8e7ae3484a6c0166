"""Uploaded files: checked, kept whole, and named by ids of ours, never by names of theirs."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

import anyio.to_thread

from introspect.serve.config import Limits
from introspect.serve.disk import read_states, write_state
from introspect.serve.errors import ApiError, bad_request, not_found
from introspect.serve.naming import new_id

__all__ = ["PURPOSES", "FileShelf", "Kept", "plain_json"]

PURPOSES = ("fine-tune", "batch")
"""What a client may upload files for."""
_CHUNK = 2**20


def plain_json(text: str | bytes) -> Any:
    """Parse JSON as the standard has it: no NaN, no lone surrogates, nothing nested without end.

    Raises:
        ValueError: It is not.

    Example:
        >>> plain_json('{"a": [1, 2]}')
        {'a': [1, 2]}
    """

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(text, parse_constant=refuse)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeError:
        raise ValueError("it holds text that is not valid Unicode") from None
    return value


@dataclass(frozen=True)
class Kept:
    """One file.

    Attributes:
        id: Ours.
        filename: What the client called it: a label, never part of a path.
        purpose: As in OpenAI's description.
        size: Bytes.
        created: Seconds since 1970.
        expires: When it is to be forgotten, if ever.
    """

    id: str
    filename: str
    purpose: str
    size: int
    created: int
    expires: int | None = None

    @property
    def body(self) -> dict[str, Any]:
        """OpenAI's file object."""
        body = {
            "id": self.id,
            "object": "file",
            "bytes": self.size,
            "created_at": self.created,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
        }
        return body if self.expires is None else {**body, "expires_at": self.expires}


class FileShelf:
    """All files of a server.

    Args:
        folder: Where they lie.
        limits: How many and how large.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        folder.mkdir(parents=True, exist_ok=True)
        self._files: dict[str, Kept] = {}
        for left in folder.glob("*.partial"):
            left.unlink(missing_ok=True)
        for _, state in read_states(folder, "*.json"):
            kept = Kept(
                state["id"],
                state["filename"],
                state["purpose"],
                state["bytes"],
                state["created_at"],
                state.get("expires_at"),
            )
            self._files[kept.id] = kept

    def all(self) -> list[Kept]:
        """Every file, oldest first."""
        self._forget_expired()
        return list(self._files.values())

    def get(self, file_id: str) -> Kept:
        """One file.

        Raises:
            ApiError: There is none of this id.
        """
        self._forget_expired()
        if file_id not in self._files:
            raise not_found("File object", file_id)
        return self._files[file_id]

    def path(self, kept: Kept) -> Path:
        """Where its bytes lie."""
        return self._folder / f"{kept.id}.data"

    def input(self, file_id: str, purpose: str, param: str) -> Kept:
        """A file that a job or a batch names.

        Raises:
            ApiError: There is none, or it was uploaded for something else.
        """
        if file_id not in self._files:
            raise bad_request(f"invalid {param}: there is no file {file_id[:100]!r}", param, "invalid_file")
        kept = self.get(file_id)
        if kept.purpose != purpose:
            raise bad_request(
                f"invalid {param}: {kept.id} was uploaded for {kept.purpose!r}, this needs {purpose!r}", param
            )
        return kept

    async def upload(self, source: BinaryIO, filename: str | None, purpose: str, lifetime: int | None = None) -> Kept:
        """Check and keep a file.

        Raises:
            ApiError: It is too large, is not JSON Lines, or there are too many.
        """
        if purpose not in PURPOSES:
            raise bad_request(f"purpose is one of {', '.join(PURPOSES)}; got {purpose[:100]!r}", "purpose")
        return await anyio.to_thread.run_sync(self._upload, source, filename, purpose, lifetime)

    def write(self, path: Path, filename: str, purpose: str) -> Kept:
        """Keep a file of our own (results); the original is moved."""
        kept = Kept(new_id("file-"), filename, purpose, path.stat().st_size, int(time.time()))
        path.replace(self.path(kept))
        self._enter(kept)
        return kept

    def delete(self, file_id: str) -> None:
        """Forget a file."""
        kept = self.get(file_id)
        # The description first: bytes without one are no file any more.
        (self._folder / f"{kept.id}.json").unlink(missing_ok=True)
        self.path(kept).unlink(missing_ok=True)
        self._files.pop(file_id, None)

    def _upload(self, source: BinaryIO, filename: str | None, purpose: str, lifetime: int | None) -> Kept:
        source.seek(0, 2)
        size = source.tell()
        source.seek(0)
        if size == 0:
            raise bad_request("the file is empty", "file", "empty_file")
        if size > self._limits.file:
            raise ApiError(413, f"the file has {size} bytes; at most {self._limits.file} are taken", "file_too_large")
        if len(self._files) >= self._limits.files:
            raise ApiError(429, f"there are {len(self._files)} files already; delete some", "too_many_files")
        if size + sum(kept.size for kept in list(self._files.values())) > self._limits.storage:
            raise ApiError(
                429, f"all files together may have {self._limits.storage} bytes; delete some", "storage_full"
            )
        for number, line in json_lines(source, self._limits):
            try:
                whole = isinstance(plain_json(line), dict)
                problem = "is not a JSON object"
            except ValueError as error:
                whole, problem = False, f"is not JSON: {error}"
            if not whole:
                raise bad_request(
                    f"Invalid file format. Line {number} {problem}. A {purpose} file is JSON Lines: one object a line.",
                    "file",
                    "invalid_jsonl",
                )
        source.seek(0)
        now = int(time.time())
        expires = None if lifetime is None else now + lifetime
        kept = Kept(new_id("file-"), _label(filename), purpose, size, now, expires)
        partial = self._folder / f"{kept.id}.data.partial"
        try:
            with partial.open("wb") as file:
                shutil.copyfileobj(source, file, _CHUNK)
            partial.replace(self.path(kept))
        finally:
            partial.unlink(missing_ok=True)
        self._enter(kept)
        return kept

    def _enter(self, kept: Kept) -> None:
        write_state(self._folder / f"{kept.id}.json", {**kept.body, "order": time.time_ns()})
        self._files[kept.id] = kept

    def _forget_expired(self) -> None:
        now = time.time()
        # A copy: an upload enters its file from a thread of its own.
        for kept in [k for k in list(self._files.values()) if k.expires is not None and k.expires <= now]:
            self._files.pop(kept.id, None)
            (self._folder / f"{kept.id}.json").unlink(missing_ok=True)
            self.path(kept).unlink(missing_ok=True)


def json_lines(source: BinaryIO, limits: Limits) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not blank, with their numbers.

    Raises:
        ApiError: Too many, too long, or none.
    """
    number = seen = 0
    while line := source.readline(limits.line + 1):
        number += 1
        if len(line) > limits.line:
            raise bad_request(f"line {number} is longer than {limits.line} bytes", "file", "line_too_long")
        if number > limits.lines:
            raise bad_request(f"the file has more than {limits.lines} lines", "file", "too_many_lines")
        if line.strip():
            seen += 1
            yield number, line
    if not seen:
        raise bad_request("the file has no lines", "file", "empty_file")


def _label(filename: str | None) -> str:
    """A client's file name without its folders and without what a terminal might take for a command."""
    name = PureWindowsPath(PurePosixPath(filename or "").name).name
    name = "".join(c for c in name if c.isprintable() and not 0xD800 <= ord(c) <= 0xDFFF)
    return name[:255] or "file.jsonl"
