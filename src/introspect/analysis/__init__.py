"""Analysis of choices and reports collected anywhere: tidy CSV files in, accuracy with its doubts out."""

from introspect.analysis.analysis import Analysis, ArmAnalysis, analyse
from introspect.analysis.choices import read_choices
from introspect.analysis.reports import matching_arm, read_reports, read_targets
from introspect.analysis.write import to_tidy, write_tidy

__all__ = [
    "Analysis",
    "ArmAnalysis",
    "analyse",
    "matching_arm",
    "read_choices",
    "read_reports",
    "read_targets",
    "to_tidy",
    "write_tidy",
]
