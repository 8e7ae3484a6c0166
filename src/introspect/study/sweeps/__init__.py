"""Sweeps: one protocol over models, seeds and conditions, on as many workers as there are."""

from introspect.study.sweeps.executors import EXECUTORS, Executor, executor
from introspect.study.sweeps.lanes import Lane, StudyOrder, lanes_of
from introspect.study.sweeps.running import SweepResult, SweepRun, read_sweep
from introspect.study.sweeps.sweep import ModelEntry, Resources, Sweep

__all__ = [
    "EXECUTORS",
    "Executor",
    "Lane",
    "ModelEntry",
    "Resources",
    "StudyOrder",
    "Sweep",
    "SweepResult",
    "SweepRun",
    "executor",
    "lanes_of",
    "read_sweep",
]
