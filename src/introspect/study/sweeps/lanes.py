"""What a sweep comes down to: lanes of studies, and an order for each."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from introspect._version import __version__
from introspect.backend.wire import ModelRef, canonical
from introspect.store.keys import step_key
from introspect.study.protocols import Protocol, backend_ref
from introspect.study.protocols.sections import Section
from introspect.study.stages import VERSION as STAGES
from introspect.study.sweeps.sweep import Resources, Sweep

__all__ = ["Lane", "StudyOrder", "lanes_of"]

# Of a study's result: what changes the meaning of its steps changes its own. Raised by hand besides.
VERSION = STAGES + 0


class StudyOrder(Section):
    """One study, as a worker gets it: plain JSON, so that it can go anywhere.

    Attributes:
        introspect: Version of the library that wrote it.
        sweep: Hash of the sweep; the folder says the same, or it is another folder.
        backend: The model as the sweep names it.
        model: The untuned model.
        seed: The seed.
        condition: The condition.
        protocol: The condition's protocol, with this seed.
        content: The protocol's hash, taken where the sweep was begun.
        out: Folder of the sweep.
        lane: Folder of the lane in it.
        resources: What it uses.
    """

    introspect: str
    sweep: str
    backend: str
    model: ModelRef
    seed: int
    condition: str
    protocol: Protocol
    content: str
    out: str
    lane: str
    resources: Resources

    @property
    def title(self) -> str:
        """What it is called in a line."""
        return f"{self.backend}, seed {self.seed}, {self.condition}"

    @property
    def step(self) -> tuple[str, JsonValue, int]:
        """Name, inputs and version of the step that it is in the sweep's store."""
        return f"study {self.title}", [self.model.identity(), self.seed, self.content], VERSION

    @property
    def key(self) -> str:
        """Hash of what is studied."""
        return step_key(*self.step)


@dataclass(frozen=True)
class Lane:
    """Studies of one model and one seed. They share steps, so they run one after another in one folder, each finding
    what those before it have done; lanes share nothing, and run side by side.

    Attributes:
        folder: Its folder's name.
        orders: Its studies.
    """

    folder: str
    orders: tuple[StudyOrder, ...]


def lanes_of(sweep: Sweep, out: Path | str) -> tuple[Lane, ...]:
    """A lane for every model and seed, in the order of the file.

    Example:
        >>> sweep = Sweep.from_yaml("{name: s, protocol: plunkett2025, models: [simulated], seeds: 2}")
        >>> [(lane.folder.rpartition("-")[0], len(lane.orders)) for lane in lanes_of(sweep, "out")]
        [('simulated-seed0', 1), ('simulated-seed1', 1)]
    """
    lanes, protocols, digest_of_all = [], sweep.protocols, sweep.hash
    folder = str(Path(out).expanduser().absolute())
    for model in sweep.models:
        ref = backend_ref(model.backend)
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", model.backend).strip("-")[:60]
        for seed in sweep.seeds:
            digest = hashlib.sha256(canonical([ref.identity(), seed]).encode()).hexdigest()[:8]
            lane = f"{slug}-seed{seed}-{digest}"
            orders = []
            for name, protocol in protocols.items():
                mine = protocol.model_copy(update={"seeds": (seed,)})
                orders.append(
                    StudyOrder(
                        introspect=__version__, sweep=digest_of_all, backend=model.backend, model=ref, seed=seed,
                        condition=name, protocol=mine, content=mine.hash, out=folder, lane=lane,
                        resources=sweep.resources_of(model),
                    )
                )  # fmt: skip
            lanes.append(Lane(lane, tuple(orders)))
    return tuple(lanes)
