"""Studies: the chain of draw, instil, measure, ask, score and train, with its arms, gates and plan."""

from introspect.study.arms import ARMS, Arm
from introspect.study.claims import Claim
from introspect.study.costs import StagePlan, StudyPlan
from introspect.study.engine import ProtocolRun, RunResult
from introspect.study.gates import Gate
from introspect.study.imagined import Assumptions
from introspect.study.planner import Expected, MeasurementPlan, cheapest_plan, plan
from introspect.study.presets import CHAT_PROTOCOL, ORGANISM_PROTOCOL, chat_study, organism_study
from introspect.study.protocol import StudyProtocol
from introspect.study.protocols import PRESETS, Protocol, backend_ref, departures, named_protocol
from introspect.study.replay import Replay, export_study, replay_study
from introspect.study.result import SeedResult, StudyResult
from introspect.study.scenario_writer import Draft, Drafts, ScenarioWriter
from introspect.study.study import Study
from introspect.study.trajectory import TrajectoryWatch
from introspect.study.watch import ProgressWatcher, SilentWatcher

__all__ = [
    "ARMS",
    "CHAT_PROTOCOL",
    "ORGANISM_PROTOCOL",
    "PRESETS",
    "Arm",
    "Assumptions",
    "Claim",
    "Draft",
    "Drafts",
    "Expected",
    "Gate",
    "MeasurementPlan",
    "ProgressWatcher",
    "Protocol",
    "ProtocolRun",
    "Replay",
    "RunResult",
    "ScenarioWriter",
    "SeedResult",
    "SilentWatcher",
    "StagePlan",
    "Study",
    "StudyPlan",
    "StudyProtocol",
    "StudyResult",
    "TrajectoryWatch",
    "backend_ref",
    "chat_study",
    "cheapest_plan",
    "departures",
    "export_study",
    "named_protocol",
    "organism_study",
    "plan",
    "replay_study",
]
