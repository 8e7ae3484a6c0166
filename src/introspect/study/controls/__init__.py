"""Controls: what else could explain a study's result, each one word in a protocol."""

from introspect.study.controls.base import Control, ControlContext, ControlResult
from introspect.study.controls.catalogue import CONTROLS, control

__all__ = ["CONTROLS", "Control", "ControlContext", "ControlResult", "control"]
