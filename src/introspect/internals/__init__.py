"""The same question about the network itself: features, patched activations, removed input.

Needs the extra ``local``. Nothing heavy is imported before a name is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from introspect._lazy import lazy_names

if TYPE_CHECKING:
    from introspect.internals.ablation_study import AblationStudy
    from introspect.internals.access import privileged_access
    from introspect.internals.clean_run import CleanRun
    from introspect.internals.config import InternalsConfig
    from introspect.internals.dictionary import Dictionary, train_dictionary
    from introspect.internals.explainer import ExplainerSpec
    from introspect.internals.result import InternalsResult
    from introspect.internals.row_table import RowTable
    from introspect.internals.self_tests import Check, self_test
    from introspect.internals.soft_map import SoftMap, fit_ridge
    from introspect.internals.soft_token import SoftToken
    from introspect.internals.study import InternalsStudy
    from introspect.internals.target import Target
    from introspect.internals.write import Write

__all__ = [
    "AblationStudy",
    "Check",
    "CleanRun",
    "Dictionary",
    "ExplainerSpec",
    "InternalsConfig",
    "InternalsResult",
    "InternalsStudy",
    "RowTable",
    "SoftMap",
    "SoftToken",
    "Target",
    "Write",
    "fit_ridge",
    "privileged_access",
    "self_test",
    "train_dictionary",
]

_HOME = {
    "AblationStudy": "ablation_study",
    "Check": "self_tests",
    "CleanRun": "clean_run",
    "Dictionary": "dictionary",
    "ExplainerSpec": "explainer",
    "InternalsConfig": "config",
    "InternalsResult": "result",
    "InternalsStudy": "study",
    "RowTable": "row_table",
    "SoftMap": "soft_map",
    "SoftToken": "soft_token",
    "Target": "target",
    "Write": "write",
    "fit_ridge": "soft_map",
    "privileged_access": "access",
    "self_test": "self_tests",
    "train_dictionary": "dictionary",
}

__getattr__ = lazy_names(__name__, _HOME, "local")
