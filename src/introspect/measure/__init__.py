"""Measuring a model: what drives its choices, what it says drives them, and how well the two agree.

choices (`ChoiceProbe` -> `ChoiceTable`) -> weights (`ChoiceModel` -> `LearnedWeights`); reports
(`SelfReportProbe` -> `ReportTable`); agreement (`AccuracyMetric` -> `Accuracy`, `Rise`), over several
training runs (`two_level`).
"""

from introspect.measure.accuracy import Accuracy
from introspect.measure.accuracy_metric import AccuracyMetric
from introspect.measure.adaptive import AdaptiveProbe, AdaptiveRun
from introspect.measure.baselines import Baseline, Baselines
from introspect.measure.ceiling import Ceiling
from introspect.measure.choice_model import ChoiceModel
from introspect.measure.choice_probe import ChoiceProbe
from introspect.measure.choice_table import ChoiceTable
from introspect.measure.diagnosis import Diagnosis, Finding, diagnose
from introspect.measure.learned_weights import LearnedWeights
from introspect.measure.moments import Moments
from introspect.measure.newton import MapFit, fit_map
from introspect.measure.pairing import Pairing, WeightsLike, pair
from introspect.measure.partial import Partial
from introspect.measure.pooled_z import PooledZ, pooled_z
from introspect.measure.repeats import Repeats
from introspect.measure.report_probe import SelfReportProbe
from introspect.measure.report_table import ReportTable
from introspect.measure.resampling import Interval
from introspect.measure.rise import Rise, rise_between
from introspect.measure.rule_models import RuleComparison, RuleFit, compare_rules
from introspect.measure.two_level import TwoLevel, student_interval, two_level, two_level_rise

__all__ = [
    "Accuracy",
    "AccuracyMetric",
    "AdaptiveProbe",
    "AdaptiveRun",
    "Baseline",
    "Baselines",
    "Ceiling",
    "ChoiceModel",
    "ChoiceProbe",
    "ChoiceTable",
    "Diagnosis",
    "Finding",
    "Interval",
    "LearnedWeights",
    "MapFit",
    "Moments",
    "Pairing",
    "Partial",
    "PooledZ",
    "Repeats",
    "ReportTable",
    "Rise",
    "RuleComparison",
    "RuleFit",
    "SelfReportProbe",
    "TwoLevel",
    "WeightsLike",
    "compare_rules",
    "diagnose",
    "fit_map",
    "pair",
    "pooled_z",
    "rise_between",
    "student_interval",
    "two_level",
    "two_level_rise",
]
