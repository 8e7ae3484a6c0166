"""Can a language model tell what drives its own decisions, and does training make it better at telling?

    draw      hidden preferences for many choice contexts          PreferenceSampler
    instil    them in a model by fine-tuning on choices only       TrialGenerator -> FineTuner
    measure   the weights the model really uses, from new choices  ChoiceProbe -> ChoiceModel -> LearnedWeights
    ask       the model for its weights                            SelfReportProbe -> ReportTable
    score     what it said against what it does                    AccuracyMetric -> Accuracy
    train     it to report better, then measure, ask and score again

`Study` runs the whole chain. Names are loaded when they are first used, so importing the package costs next to nothing.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from introspect._version import __version__ as __version__

# The stub beside this file lists the public names, once, for people, type checkers and this module alike.
_STUB = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
_HOME = {name: home for home, name in re.findall(r"^from (introspect\.\w+) import \w+ as (\w+)$", _STUB, re.MULTILINE)}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name.startswith("__") or name not in _HOME:
        raise AttributeError(f"module 'introspect' has no attribute {name!r}{_hint(name)}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def _hint(name: str) -> str:
    if name.startswith("_"):
        return ""
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), {known.lower(): known for known in _HOME}, 1)
    return f"; did you mean {next(known for known in _HOME if known.lower() == near[0])!r}?" if near else ""


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
