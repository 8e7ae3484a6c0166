"""A study's analysis again, from its export alone: no network, no key, no model."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from introspect._notebook import html_lines, short_repr
from introspect.backend.cached import request_key
from introspect.backend.protocol import ModelBackend
from introspect.backend.secrets import holds_secret
from introspect.backend.wire import Capabilities, ModelInfo, ModelRef, Reply, Request
from introspect.decision import ScenarioSet
from introspect.errors import StoreError
from introspect.store import ArchiveHeader, Store, pack_study, unpack_study
from introspect.study.recipe import study_of
from introspect.study.result import StudyResult
from introspect.study.stages import VERSION, Stages
from introspect.study.study import result_text
from introspect.study.watch import SilentWatcher, Watcher
from introspect.training.replies import StoredReplies

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Replay", "export_study", "replay_study"]


@dataclass(frozen=True)
class Replay:
    """What the analysis gave again.

    Attributes:
        result: From the replay.
        recorded: What ``result.json`` of the export says.
        differences: Where the two differ, as paths into the JSON; none is what should be.
        made_by: Version of introspect that exported it.
        n_replies: Stored replies that the analysis was made from.
    """

    result: StudyResult
    recorded: Any
    differences: tuple[str, ...]
    made_by: str
    n_replies: int

    def __repr__(self) -> str:
        told = "identical" if self.identical else f"{len(self.differences)} differences"
        return short_repr(self, f"{told}, from {self.n_replies:,} replies; {self.result!r}")

    def _repr_html_(self) -> str:
        told = "Identical to the recorded result" if self.identical else "Differs from the recorded result"
        return self.result._repr_html_() + html_lines(f"{told}, from {self.n_replies:,} replies", self.differences[:10])

    def to_frame(self) -> pd.DataFrame:
        """The arms of the result."""
        return self.result.to_frame()

    @property
    def identical(self) -> bool:
        """Whether the result is the recorded one, to the last digit."""
        return not self.differences


def export_study(folder: Path | str, target: Path | str) -> ArchiveHeader:
    """Write a finished study into one zip file: all replies, stages, settings, hashes and the result.

    Weights of trained models are not in it: the analysis needs none. Nor is any key; should one of the keys in this
    process's environment stand in the study all the same, nothing is written.

    Raises:
        StoreError: There is no finished study, a key stands in it, or the target cannot be written.
    """

    def check(piece: bytes) -> None:
        if holds_secret(piece):
            raise StoreError(
                f"a key that this process knows stands in the study in {folder}: it is not exported. Take it out of "
                "what was asked or answered, and change the key"
            )

    return pack_study(folder, target, check)


def replay_study(archive: Path | str, watcher: Watcher | None = None, **own: Any) -> Replay:
    """Run the whole analysis of an exported study again: read every reply anew, fit, score.

    What was drawn, and which models the trainings made, is taken from the export, as are all replies; no model is
    opened. The tables of choices and reports are made anew and held against those of the study.

    Args:
        archive: From `export_study`.
        watcher: Who is told how it goes on.
        own: Parts of the user's own making that the study had, by the name of the setting (``style=...``).

    Raises:
        StoreError: The archive cannot be read or believed, lacks a stage or a reply, or is of another version.
    """
    with tempfile.TemporaryDirectory(prefix="introspect-replay-") as work:
        folder = Path(work)
        header = unpack_study(archive, folder)
        with Store.open(folder / "study.db", create=False) as store:
            recipe = store.manifest.get("recipe")
            if not isinstance(recipe, dict):
                raise StoreError(
                    f"{archive} was made by a version of introspect that did not keep a study's settings; run the "
                    "study's own script once more in its folder, and export it again"
                )
            study = study_of(recipe, folder, **own)
            stages = ReplayStages(
                store, folder / "models", study.model, ScenarioSet(study.scenarios), ScenarioSet(study.native),
                study.protocol, study.words, watcher or SilentWatcher(), source=str(archive),
            )  # fmt: skip
            result = study.analyse(stages)
            n_replies = len(stages.used)
        text = (folder / "result.json").read_bytes()
    try:
        recorded = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{archive}: its result.json cannot be read: {error}") from error
    again = result_text(result)
    differences = tuple(_differences(recorded, json.loads(again)))
    return Replay(result, recorded, differences, header.introspect, n_replies)


@dataclass(frozen=True)
class ReplayStages(Stages):
    """Stages whose models are the replies that were stored.

    Attributes:
        source: Where the study comes from, for error messages.
        used: Keys of the replies that were read.
    """

    source: str = ""
    used: set[str] = field(default_factory=set)

    def step(self, seed: int, name: str, inputs: object, compute: Callable[[], Any], labels: Sequence[str] = ()) -> Any:
        full = f"seed {seed}: {name}"
        found = self.store.find_step(full, [seed, inputs], VERSION)
        if found is None:
            raise StoreError(
                f"{self.source} has no finished stage {full!r} for these settings: it was exported before the study "
                "ended, or made by a version of introspect whose stages meant something else"
            )
        self.watcher.stage(full, done=False)
        if not name.endswith(("choices", "reports")):
            return found.result  # what was drawn and trained is not drawn and trained again
        again = compute()
        if again != found.result:
            raise StoreError(
                f"{self.source}: stage {full!r} reads its replies otherwise than the study did: a reply was changed, "
                "or this version of introspect reads answers differently"
            )
        return again

    def _open(self, ref: ModelRef) -> ModelBackend:
        return _StoredModel(ref, StoredReplies(self.store), self.source, self.used)


class _StoredModel:
    """A backend that knows the replies it once gave, and nothing else."""

    def __init__(self, ref: ModelRef, replies: StoredReplies, source: str, used: set[str]) -> None:
        self.info = ModelInfo(ref=ref)
        self._replies, self._source, self._used = replies, source, used

    async def probe(self) -> Capabilities:
        return Capabilities(answer_logprobs=True, notes=("a replay: whatever the stored replies hold",))

    async def generate(self, requests: Sequence[Request]) -> AsyncIterator[tuple[int, Reply]]:
        keys = [request_key(self.info, request) for request in requests]
        found: dict[str, Reply] = self._replies.get_failed(keys)
        found.update(self._replies.get_many(keys))  # what failed first may have been answered later
        for index, (key, request) in enumerate(zip(keys, requests, strict=True)):
            reply = found.get(key)
            if reply is None:
                raise StoreError(
                    f"{self._source} has no reply of {self.info.ref} to request {key} (sample {request.sample_index}): "
                    f"{request.messages[-1].content!r:.120}; the study was exported before it ended, or another one is "
                    "being replayed"
                )
            self._used.add(key)
            yield index, reply

    async def aclose(self) -> None:
        """Nothing to close."""


def _differences(recorded: Any, again: Any, path: str = "") -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(again, dict):
        for key in sorted({*recorded, *again}):
            here = f"{path}.{key}" if path else str(key)
            if key not in recorded or key not in again:
                yield f"{here} ({'new' if key in again else 'gone'})"
            else:
                yield from _differences(recorded[key], again[key], here)
    elif isinstance(recorded, list) and isinstance(again, list) and len(recorded) == len(again):
        for index, (one, other) in enumerate(zip(recorded, again, strict=True)):
            yield from _differences(one, other, f"{path}[{index}]")
    elif recorded != again or type(recorded) is not type(again):
        yield f"{path}: {recorded!r:.40} -> {again!r:.40}"
