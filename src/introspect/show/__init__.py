"""Figures of what a study found, and its page."""

from introspect.show.contexts import plot_calibration, plot_forest, plot_weights
from introspect.show.controls import plot_control
from introspect.show.drawn import Drawn
from introspect.show.headline import plot_headline, plot_slopes
from introspect.show.internals import plot_internals
from introspect.show.page import write_page
from introspect.show.reports import plot_reports
from introspect.show.run_card import run_card
from introspect.show.tables import plot_design_efficiency, plot_dose, plot_privileged_access, plot_trajectory

__all__ = [
    "Drawn",
    "plot_calibration",
    "plot_control",
    "plot_design_efficiency",
    "plot_dose",
    "plot_forest",
    "plot_headline",
    "plot_internals",
    "plot_privileged_access",
    "plot_reports",
    "plot_slopes",
    "plot_trajectory",
    "plot_weights",
    "run_card",
    "write_page",
]
