"""How many replies a second are kept and found again: the store against a file per reply and a naive database.

Run: python benchmarks/bench_store.py [--replies 500] [--rounds 7] [--folder DIR]

All keep the same replies under the same keys, one at a time as replies arrive, and turn them into `Reply` objects
again. Only the store notices a damaged entry, which its reading pays for; only the databases never show a half-written
one.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from introspect.backend import Cached, FunctionBackend, Message, ModelInfo, Reply, Request, ask, request_key
from introspect.store import Store
from introspect.training import StoredReplies


class Shelf(Protocol):
    """What is compared."""

    def get(self, key: str) -> Reply | None: ...

    def put(self, key: str, request: Request, reply: Reply, info: ModelInfo) -> None: ...

    def close(self) -> None: ...


class OurStore(StoredReplies):
    """The library's own."""

    def __init__(self, folder: Path) -> None:
        self._file = Store.open(folder / "study.db")
        super().__init__(self._file)

    def close(self) -> None:
        self._file.close()


class FilePerReply:
    """One JSON file per reply, as caches are often written: no checksum, nothing against half-written files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> Reply | None:
        path = self._folder / f"{key}.json"
        return Reply.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None

    def put(self, key: str, request: Request, reply: Reply, info: ModelInfo) -> None:
        (self._folder / f"{key}.json").write_text(reply.model_dump_json(exclude_defaults=True), encoding="utf-8")

    def close(self) -> None: ...


class CommitPerReply:
    """A table of key and JSON in SQLite's default mode, one commit per reply."""

    def __init__(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "replies.db", check_same_thread=False)
        self._db.execute("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT)")

    def get(self, key: str) -> Reply | None:
        found = self._db.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        return Reply.model_validate_json(found[0]) if found else None

    def put(self, key: str, request: Request, reply: Reply, info: ModelInfo) -> None:
        text = reply.model_dump_json(exclude_defaults=True)
        self._db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?)", (key, text))
        self._db.commit()

    def close(self) -> None:
        self._db.close()


SHELVES: dict[str, Callable[[Path], Shelf]] = {
    "store": OurStore,
    "file per reply": FilePerReply,
    "commit per reply": CommitPerReply,
}


def main() -> None:
    """Print replies a second and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replies", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7, help="the best of so many counts; shelves take turns")
    parser.add_argument("--folder", type=Path, help="where to write (the disk that is measured)")
    options = parser.parse_args()

    model = FunctionBackend(_answer, name="answers-at-once", version="1")
    requests = [_question(number) for number in range(options.replies)]
    replies = ask(model, requests)
    keys = [request_key(model.info, request) for request in requests]
    seconds: dict[tuple[str, str], float] = {}

    def note(what: str, name: str, began: float) -> None:
        spent = time.perf_counter() - began
        seconds[what, name] = min(spent, seconds.get((what, name), spent))

    for _ in range(options.rounds):
        for name, make in SHELVES.items():
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                shelf = make(Path(folder))
                began = time.perf_counter()
                for key, request, reply in zip(keys, requests, replies, strict=True):
                    shelf.put(key, request, reply, model.info)
                note("write", name, began)
                shelf.close()
                shelf = make(Path(folder))
                began = time.perf_counter()
                found = [shelf.get(key) for key in keys]
                note("read", name, began)
                assert found == replies, f"{name} gives back something else"
                began = time.perf_counter()
                again = ask(Cached(model, shelf), requests)
                note("ask again", name, began)
                assert again == replies
                shelf.close()

    print(f"{options.replies:,} replies, best of {options.rounds}, wall-clock time; replies a second")
    print(f"{'':<12}" + "".join(f"{name:>20}" for name in SHELVES) + f"{'store is faster by':>34}")
    for what in ("write", "read", "ask again"):
        own = seconds[what, "store"]
        rates = "".join(f"{options.replies / seconds[what, name]:>20,.0f}" for name in SHELVES)
        ratios = ", ".join(f"{seconds[what, name] / own:.1f} x" for name in SHELVES if name != "store")
        print(f"{what:<12}{rates}{ratios:>34}")


def _question(number: int) -> Request:
    text = (
        f"Which is better: {number} (A) or {number * 7 % 1000} (B)? Answer with A or B. " + "Think of all sides. " * 20
    )
    return Request(messages=(Message(role="user", content=text),), answers=("A", "B"), max_tokens=16)


def _answer(_request: Request) -> Reply:
    return Reply(status="completed", text="A", answer_logprobs={"A": -0.25, "B": -1.5}, mass_outside=1e-3)


if __name__ == "__main__":
    main()
