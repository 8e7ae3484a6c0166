"""``introspect internals``: can a model explain its own features, the effect of patches, and of removed input?"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from introspect.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from introspect.internals.result import InternalsResult

__all__ = ["add_parser"]

_STEPS = {
    "build": "ask or look into the model for the true answers",
    "train": "build, and train the explainer",
    "explain": "build, train, and let the explainer and its floors answer",
    "eval": "all of it, with figures and intervals",
    "recheck": "compute some rows anew and compare",
}
_TASKS = ("planted", "features", "patching", "ablation")


def add_parser(commands: Any) -> None:
    """Add the command to the others."""
    parser = commands.add_parser(
        "internals",
        help="explain a model's features, patched activations or removed input",
        description="Every step is done once per folder and found again. Settings come from a YAML file "
        "(--show prints all of them).",
    )
    parser.add_argument(
        "step", choices=list(_STEPS), metavar="STEP", help="; ".join(f"{k}: {v}" for k, v in _STEPS.items())
    )
    parser.add_argument("task", choices=_TASKS, metavar="TASK", help=", ".join(_TASKS))
    parser.add_argument("--config", metavar="FILE", help="settings in YAML")
    parser.add_argument("--model", metavar="MODEL", help="a packaged model, a folder, a hub id (default smollm2)")
    parser.add_argument("--explainer", metavar="MODEL", help="another model that explains")
    parser.add_argument("--out", metavar="DIR", help="folder of the study (default introspect-internals/TASK)")
    parser.add_argument("--rows", type=int, default=20, metavar="N", help="rows to recheck (default 20)")
    parser.add_argument("--show", action="store_true", help="print all settings as YAML, and stop")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from introspect.internals.config import InternalsConfig

    given = {"task": options.task, "model": options.model, "explainer": options.explainer}
    changes = {key: value for key, value in given.items() if value is not None}
    config = InternalsConfig.load(options.config, **changes) if options.config else InternalsConfig.of(changes)
    if options.show:
        print(config.to_yaml(), end="")
        return 0
    if options.rows < 1:
        raise ConfigError(f"--rows must be at least 1, got {options.rows}")
    study = _study(config, Path(options.out or f"introspect-internals/{config.task}"))
    if options.step in ("build", "recheck"):
        table = study.build()
        said: Any = {"rows": table.counts(), "provenance": table.provenance}
        if options.step == "recheck":
            found = study.recheck(table, options.rows)
            said = {"recheck": str(found), "different": list(found.different)}
    elif options.step == "train":
        made = study.train()
        said = {"trained": made if isinstance(made, dict) else made.model_dump(mode="json")}
    elif options.step == "explain":
        said = {name: [s.content for s in answers.said] for name, answers in study.explain().items()}
    else:
        return _told(study.eval(), study.folder, options.json)
    print(json.dumps(said, ensure_ascii=False, indent=None if options.json else 1))
    return 0


def _study(config: Any, folder: Path) -> Any:
    def progress(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        if config.task == "ablation":
            from introspect.internals.ablation_study import AblationStudy

            return AblationStudy(config, folder, progress=progress)
        from introspect.internals.study import InternalsStudy
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "local") from error
    return InternalsStudy(config, folder, progress=progress)


def _told(result: InternalsResult, folder: Path, as_json: bool) -> int:
    drawn = []
    try:
        from introspect.show import plot_internals

        plot_internals(result.rows(), result.main).save(folder / "arms.png")
        drawn = ["arms.png"]
    except MissingExtraError as error:
        print(f"No figure: {error}", file=sys.stderr)
    if as_json:
        print(json.dumps(result.to_dict(), ensure_ascii=False, default=str))
    else:
        print(*result.sentences(), sep="\n")
        print(f"\nEverything is in {folder}: result.json, result.md, study.db" + "".join(f", {d}" for d in drawn))
    return 0
