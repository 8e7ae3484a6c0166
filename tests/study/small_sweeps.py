"""A small sweep, and what is counted in its folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from introspect.store import Store
from introspect.study.sweeps import Sweep, SweepResult

SMALL = """\
name: small
protocol:
  contexts: {instilled: 8, native: 0}
  instil: {choices: 16}
  measure: {choices: 12, design: random, estimator: unit-normal, after_report_training: false}
  score: {n_boot: 50, n_null: 49}
models: [simulated]
seeds: 2
conditions:
  two: {report: {ask: {reports: 2}}}
  three: {report: {ask: {reports: 3}}}
"""


def small_sweep(more: str = "") -> Sweep:
    """Two lanes of two studies that share all but reports, with further YAML lines."""
    return Sweep.from_yaml(SMALL + more, "small.yaml")


def finished(folder: Path) -> Counter[tuple[str, str]]:
    """How often each step of each lane was run to its end. What models of one seed have in common, the draw, every lane
    makes for itself.
    """
    count: Counter[tuple[str, str]] = Counter()
    for file in sorted((folder / "lanes").glob("*/study.db")):
        with Store.open(file, create=False) as store:
            count.update((file.parent.name, record.step) for record in store.stages() if record.outcome == "finished")
    return count


def findings(result: SweepResult) -> dict[str, Any]:
    """All that came out, without times, processes, folders, and which study of a lane did what."""
    found = {}
    for title, told in result.studies.items():
        kept = {k: v for k, v in told["result"].items() if k != "changes"}
        found[title] = _without_places(kept)
    return found


def _without_places(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_places(v) for k, v in value.items() if k not in ("location", "seconds")}
    return [_without_places(v) for v in value] if isinstance(value, list) else value
