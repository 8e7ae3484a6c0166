"""Runs a sweep: hands out studies, begins again what a dead worker left, and gathers results in one store."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from introspect._version import __version__
from introspect.errors import ConfigError, StoreError
from introspect.store import FolderLock, Store
from introspect.study.engine import ProtocolRun
from introspect.study.study import write_text
from introspect.study.sweeps.executors import Executor, Lost
from introspect.study.sweeps.lanes import Lane, StudyOrder, lanes_of
from introspect.study.sweeps.summary import arm_rows, summary
from introspect.study.sweeps.sweep import Sweep
from introspect.study.sweeps.worker import MARK

__all__ = ["SweepResult", "SweepRun", "SweepState", "read_sweep"]


@dataclass(frozen=True)
class SweepResult:
    """What a sweep gave.

    Attributes:
        name: The sweep.
        studies: Title -> what the study's worker said, for those that were done.
        failed: Title -> why a study failed, or which of its steps did.
        found: Titles of those that an earlier run had finished.
        lost: Title -> how its workers died, one entry a death.
        n_studies: All of them.
        folder: Where everything lies.
    """

    name: str
    studies: Mapping[str, Mapping[str, Any]]
    failed: Mapping[str, str]
    found: tuple[str, ...]
    lost: Mapping[str, tuple[str, ...]]
    n_studies: int
    folder: Path

    @property
    def rows(self) -> list[dict[str, JsonValue]]:
        """One row for every arm of every study, and for every condition of every control."""
        return [row for told in self.studies.values() for row in arm_rows(told)]

    def sentences(self) -> list[str]:
        """The sweep in words, and r of its arms by model and condition."""
        lines = [
            f"{self.name}: {len(self.studies)} of {self.n_studies} studies done"
            + (f", {len(self.found)} of them before" if self.found else "")
            + "."
        ]
        lines += [f"  begun again: {title}: {'; '.join(deaths)}" for title, deaths in self.lost.items()]
        lines += [f"  {title}: {why}" for title, why in self.failed.items()]
        return [*lines, *summary(self.rows)]

    def to_dict(self) -> dict[str, JsonValue]:
        """Plain JSON."""
        return {
            "name": self.name, "n_studies": self.n_studies, "done": len(self.studies), "found": len(self.found),
            "failed": dict(self.failed), "lost": {k: list(v) for k, v in self.lost.items()}, "arms": list(self.rows),
            "folder": str(self.folder),
        }  # fmt: skip

    def to_csv(self) -> str:
        """The rows as CSV."""
        rows, text = self.rows, io.StringIO()
        names = list(dict.fromkeys(key for row in rows for key in row))
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()


@dataclass
class SweepRun:
    """A sweep and a folder. Run it again, and only what is missing is run.

    A study is one task: a model, a seed, a condition. Those of one model and seed share steps, so they run one after
    another in a folder of their own (a lane); lanes run side by side. A worker that dies, with its machine or alone,
    costs the step that it was in: the study is begun again, and finds the others.

    Args:
        sweep: What to study.
        out: Folder of everything; all workers must see it under this path.

    Raises:
        ConfigError: A study cannot be run on its model; before anything is asked.

    Example:
        >>> import tempfile
        >>> from introspect.study.sweeps import executor
        >>> sweep = Sweep.from_yaml('''
        ... name: small
        ... protocol: {contexts: {instilled: 12, native: 0}, score: {n_boot: 50, n_null: 49}}
        ... models: [simulated]
        ... seeds: 2
        ... conditions: {two: {report: {ask: {reports: 2}}}, three: {report: {ask: {reports: 3}}}}
        ... ''')
        >>> result = SweepRun(sweep, tempfile.mkdtemp()).run(executor("here"))
        >>> len(result.studies), sorted({row["condition"] for row in result.rows})
        (4, ['three', 'two'])
    """

    sweep: Sweep
    out: Path | str
    _deaths: dict[str, list[str]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self._lanes = lanes_of(self.sweep, self.out)
        protocols = self.sweep.protocols
        # Every seed has the same settings, so one lane of each model tells.
        for lane in self._lanes[:: len(self.sweep.seeds)]:
            for order in lane.orders:
                try:
                    ProtocolRun(protocols[order.condition], order.model, self.folder / "lanes" / lane.folder)
                except ConfigError as error:
                    raise ConfigError(f"{error} (condition {order.condition!r}, model {order.backend!r})") from None

    @property
    def folder(self) -> Path:
        """Where everything lies."""
        return Path(self.out).expanduser()

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Its lanes."""
        return self._lanes

    def run(
        self, executor: Executor, tell: Callable[[str, str, int], None] | None = None, wait: float = 0.0
    ) -> SweepResult:
        """Run what has not been run.

        Args:
            executor: Who runs the studies.
            tell: Told title, state and number of ended studies whenever one ends.
            wait: Seconds to wait for another process that runs a sweep in this folder.

        Raises:
            ConfigError: The executor will never have room for a study.
            StoreError: The folder cannot be used, is in use, or holds another sweep.
        """
        told = tell or _silent
        self._deaths.clear()
        with FolderLock(self.folder, wait), Store.open(self.folder / "sweep.db") as store:
            self._claim(store)
            before = {o.title: r for lane in self._lanes for o in lane.orders if (r := _known(store, o)) is not None}
            todo = {lane.folder: [o for o in lane.orders if o.title not in before] for lane in self._lanes}
            failed: dict[str, str] = {}
            if any(todo.values()):
                executor.check([self.sweep.resources_of(m) for m in self.sweep.models])
                with executor:
                    self._hand_out(store, executor, todo, failed, told, len(before))
            store.manifest["failed"] = failed
            self._gather(store)
            result = self._result(store, tuple(before), failed)
            write_text(self.folder / "arms.csv", result.to_csv())
            return result

    def _hand_out(
        self, store: Store, executor: Executor, todo: dict[str, list[StudyOrder]], failed: dict[str, str],
        told: Callable[[str, str, int], None], ended: int,
    ) -> None:  # fmt: skip
        # The longest lanes first, so that no worker is left alone with one at the end.
        going: dict[int, StudyOrder] = {}
        for number, lane in enumerate(sorted((lane for lane in todo.values() if lane), key=len, reverse=True)):
            going[number] = lane.pop(0)
            executor.submit(number, going[number])
        while going:
            for ticket, answer in executor.wait():
                order = going.pop(ticket)
                deaths = self._deaths.setdefault(order.title, [])
                if isinstance(answer, Lost):
                    deaths.append(str(answer))
                    if len(deaths) < self.sweep.attempts:
                        told(order.title, f"begun again: {answer}", ended)
                        going[ticket] = order
                        executor.submit(ticket, order)
                        continue
                    failed[order.title] = f"given up after {len(deaths)} attempts: {answer}"
                else:
                    _note(store, order, json.loads(answer), failed)
                ended += 1
                told(order.title, failed.get(order.title, "done"), ended)
                if todo[order.lane]:
                    going[ticket] = todo[order.lane].pop(0)
                    executor.submit(ticket, going[ticket])

    def _claim(self, store: Store) -> None:
        """A folder holds one sweep; models, seeds and conditions may be added to it."""
        known = store.manifest.get("sweep")
        if known is not None and known["name"] != self.sweep.name:
            raise StoreError(f"{self.folder} holds the sweep {known['name']!r}; give another folder with --out")
        # As the orders say it: a scenario file may be edited while studies run.
        digest = self._lanes[0].orders[0].sweep
        store.manifest["sweep"] = {
            "name": self.sweep.name, "hash": digest, "introspect": __version__,
            "settings": self.sweep.model_dump(mode="json"),
            "orders": [[o.title, o.key, o.lane] for lane in self._lanes for o in lane.orders],
        }  # fmt: skip
        write_text(self.folder / MARK, json.dumps({"name": self.sweep.name, "hash": digest}) + "\n")

    def _gather(self, store: Store) -> None:
        """Steps and tables of all lanes, and where the sweep says so every reply too."""
        seen = dict(store.manifest.get("gathered", {}))
        for lane in self._lanes:
            file = self.folder / "lanes" / lane.folder / "study.db"
            if not file.is_file():
                continue
            state = [file.stat().st_size, file.stat().st_mtime_ns, self.sweep.gather]
            if seen.get(lane.folder) == state:
                continue
            # A lane that cannot be read now is read when the sweep is run again.
            with suppress(StoreError):
                store.absorb(file, replies=self.sweep.gather == "replies")
                seen[lane.folder] = state
        store.manifest["gathered"] = seen

    def _result(self, store: Store, found: tuple[str, ...], failed: Mapping[str, str]) -> SweepResult:
        studies = {o.title: r for lane in self._lanes for o in lane.orders if (r := _known(store, o)) is not None}
        lost = {title: tuple(deaths) for title, deaths in self._deaths.items() if deaths}
        return SweepResult(self.sweep.name, studies, dict(failed), found, lost, self.sweep.n_studies, self.folder)


def _silent(title: str, state: str, ended: int) -> None:
    """Nobody is told."""


def _known(store: Store, order: StudyOrder) -> dict[str, Any] | None:
    found = store.find_step(*order.step)
    return None if found is None else dict(found.result)


def _note(store: Store, order: StudyOrder, told: dict[str, Any], failed: dict[str, str]) -> None:
    """A study that is done is kept for good; one that failed is tried again in the next run."""
    told |= {"backend": order.backend, "seed": order.seed, "condition": order.condition}
    if told["state"] == "done":
        store.step(*order.step, lambda: told)
    elif told["state"] == "failed":
        failed[order.title] = f"failed: {told['reason']}"
    else:
        broken = [step for step in told["steps"] if step["state"] == "failed"]
        failed[order.title] = f"incomplete: {broken[0]['name']}: {broken[0]['why']}" if broken else "incomplete"


@dataclass(frozen=True)
class SweepState:
    """How far a sweep is.

    Attributes:
        name: The sweep.
        states: Title of each study -> "done", "failed" or "to do".
        failed: Title -> why.
        running: Step -> process, of those begun and not ended.
    """

    name: str
    states: Mapping[str, str]
    failed: Mapping[str, str]
    running: Mapping[str, str]

    def sentences(self) -> list[str]:
        """In words."""
        counts = Counter(self.states.values())
        told = ", ".join(f"{n} {state}" for state, n in counts.items())
        lines = [f"sweep {self.name}: {len(self.states)} studies: {told}"]
        lines += [f"  {title}: {why}" for title, why in self.failed.items()]
        lines += [f"  begun and not ended: {step} (process {process})" for step, process in self.running.items()]
        if counts["to do"] or counts["failed"]:
            lines.append("Run the same sweep again to go on, unless it runs now.")
        return lines

    def to_dict(self) -> dict[str, JsonValue]:
        """Plain JSON."""
        return {"sweep": self.name, "states": dict(self.states), "failed": dict(self.failed),
                "running": dict(self.running)}  # fmt: skip


def read_sweep(folder: Path | str) -> SweepState:
    """How far a sweep is; nothing is changed in its folder.

    Raises:
        StoreError: No sweep has been run there.
    """
    root = Path(folder).expanduser()
    with Store.open(root / "sweep.db", create=False) as store:
        known = store.manifest.get("sweep")
        if known is None:
            raise StoreError(f"{root} holds no sweep: `introspect sweep SWEEP.yaml --out {root}` makes one")
        done = {step.key for step in store.steps()}
        failed = store.manifest.get("failed", {})
    states: dict[str, str] = {}
    running: dict[str, str] = {}
    for title, key, _ in known["orders"]:
        states[title] = "done" if key in done else "failed" if title in failed else "to do"
    for lane in dict.fromkeys(lane for _, _, lane in known["orders"]):
        file = root / "lanes" / lane / "study.db"
        if file.is_file():
            with Store.open(file, create=False) as store:
                last = {record.name: record for record in store.stages()}
            running |= {f"{lane}, {r.name}": r.process for r in last.values() if r.outcome == "running"}
    return SweepState(known["name"], states, {t: w for t, w in failed.items() if t in states}, running)
