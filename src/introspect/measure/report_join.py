"""Several tables of reports as one."""

from __future__ import annotations

from collections.abc import Sequence

from introspect.errors import MeasureError
from introspect.measure.report_table import ReportTable

__all__ = ["joined_reports"]


def joined_reports(tables: Sequence[ReportTable]) -> ReportTable:
    """The reports of several tables on different scenarios; `ReportTable.concat` says what becomes of their sources.

    Raises:
        MeasureError: No tables, a scenario in two of them, or signed and unsigned reports mixed.

    Example:
        >>> parts = [ReportTable.from_weights({name: {"rent": -80.0}}, model="m") for name in ("flat", "house")]
        >>> joined_reports(parts).scenario_ids
        ('flat', 'house')
    """
    if not tables:
        raise MeasureError("there is no table to concatenate")
    if len({table.signed for table in tables}) > 1:
        raise MeasureError("reports with and without signs cannot stand in one table")
    predictors: dict[str, Sequence[str]] = {}
    for table in tables:
        twice = set(table.scenario_ids) & set(predictors)
        if twice:
            raise MeasureError(f"scenarios {sorted(twice)[:5]} are in more than one of the tables")
        predictors |= dict(zip(table.scenario_ids, table.predictors, strict=True))
    seeds = {table.seed for table in tables}
    source = {
        "model": "+".join(dict.fromkeys(table.model for table in tables)),
        "probe": "+".join(dict.fromkeys(table.probe for table in tables)),
        "seed": seeds.pop() if len(seeds) == 1 else -1,
        "signed": tables[0].signed,
    }
    return ReportTable.of_rows([row for table in tables for row in table.to_rows()], predictors, source)
