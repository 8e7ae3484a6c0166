"""All controls by their words."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from introspect._checked import raw_validate
from introspect.study.controls.base import Control

__all__ = ["CONTROLS", "check_word", "control"]

CONTROLS = {
    "untuned": "untuned:Untuned",
    "placebo": "placebo:Placebo",
    "few-shot": "few_shot:FewShot",
    "privileged": "privileged:Privileged",
    "grounding": "grounding:Grounding",
    "dose": "dose:Dose",
    "temperature": "temperature:Temperature",
    "seeds": "seeds:Seeds",
    "trajectory": "trajectory:Trajectory",
    "prompts": "prompts:Prompts",
    "common-sense": "common_sense:CommonSense",
    "rules": "rules:Rules",
    "self-prediction": "self_prediction:SelfPrediction",
    "disposition": "disposition:Disposition",
}
"""Word -> where the control is."""


@cache
def control(word: str) -> Control:
    """The control of a word.

    Example:
        >>> control("placebo").word
        'placebo'
    """
    module, _, name = CONTROLS[word].partition(":")
    made: Control = getattr(import_module(f"introspect.study.controls.{module}"), name)()
    return made


def check_word(word: str, settings: dict[str, Any]) -> None:
    """Whether there is such a control and it has such settings.

    Raises:
        ValueError: With what to do.
    """
    if word not in CONTROLS:
        close = difflib.get_close_matches(word, CONTROLS, 1)
        remedy = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(CONTROLS)}"
        raise ValueError(f"there is no control {word!r}; {remedy}")
    options = control(word).Options
    try:
        raw_validate(options, settings)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        known = ", ".join(options.model_fields) or "none"
        what = (
            "is no setting of it" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
        )
        raise ValueError(f"control {word!r}: {place} {what}; its settings are {known}") from None
