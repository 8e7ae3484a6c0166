"""Figures of what a study found."""

from introspect.show.reports import plot_reports

__all__ = ["plot_reports"]
