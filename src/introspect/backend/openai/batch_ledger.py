"""Which requests were sent in which batch: written down before anything waits, so that none is sent twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from introspect.backend.openai.batch_lines import Chunk
from introspect.backend.protocol import JobRecorder
from introspect.errors import BackendError

__all__ = ["Entry", "Ledger"]


@dataclass
class Entry:
    """One batch.

    Attributes:
        digest: Of the file with its requests; also in the file's name and the batch's metadata.
        keys: Requests in it.
        file: The uploaded file's id.
        batch: The batch's id.
        ended: The status it ended with.
    """

    digest: str
    keys: list[str]
    file: str | None = None
    batch: str | None = None
    ended: str | None = None

    @property
    def void(self) -> bool:
        """Whether nothing can come of it: the service refused it as a whole."""
        return self.ended == "failed"


class Ledger:
    """The batches of one model, in a `JobRecorder`.

    Entries are never taken away: a reply that was harvested and lost in a kill is read from its batch again.

    Raises:
        BackendError: What was recorded cannot be read.
    """

    def __init__(self, jobs: JobRecorder) -> None:
        self._jobs = jobs
        state = jobs.recall()
        names = {field.name for field in fields(Entry)}
        try:
            rows: Any = state.get("batches", [])
            self.entries = [Entry(**{name: row[name] for name in names}) for row in rows]
        except (KeyError, TypeError) as error:
            raise BackendError(
                f"what was recorded about batches cannot be read ({error!r}); it is of another version of introspect"
            ) from None

    def covering(self, keys: Iterable[str]) -> Iterator[Entry]:
        """Batches that hold any of these requests, the latest first."""
        wanted = set(keys)
        return (e for e in reversed(self.entries) if not e.void and not wanted.isdisjoint(e.keys))

    def begin(self, chunk: Chunk) -> Entry:
        """Write down that a chunk is about to be sent."""
        # The same requests may be sent again, when they failed; each time gets a name of its own.
        before = sum(entry.digest.startswith(chunk.digest) for entry in self.entries)
        entry = Entry(f"{chunk.digest}-{before}", list(chunk.keys))
        self.entries.append(entry)
        self.save()
        return entry

    def save(self) -> None:
        """Write down what is known; durable once it returns."""
        self._jobs.record({"batches": [asdict(entry) for entry in self.entries]})

    def progress(self, done: int, total: int) -> None:
        """Tell the person watching."""
        self._jobs.progress(done, total)
