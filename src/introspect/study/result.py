"""What a study found, over all its seeds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from pydantic import JsonValue

from introspect._notebook import frame_of, html_lines, html_rows, html_table, short_repr
from introspect.backend.wire import ModelRef
from introspect.measure import Interval, Rise, TwoLevel, student_interval, two_level, two_level_rise
from introspect.study.arms import ARMS, Arm
from introspect.study.claims import Claim, claims_of
from introspect.study.gates import Gate
from introspect.training import Verdict

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SeedResult", "StudyResult"]


# Over seeds these are means; their interval, where there is one, is Student's t over the seeds' own numbers.
_MEANS = (
    "coverage", "response_rate", "choice_accuracy", "learned_vs_target_r", "mean_within_r", "median_within_r",
    "sign_agreement", "top_agreement", "ceiling", "ceiling_weights", "ceiling_reports", "best_baseline_r",
)  # fmt: skip
_WITH_ENDS = {
    "disattenuated_r": "disattenuated",
    "margin": "margin",
    "partial_r": "partial",
    "beyond_untuned_r": "beyond_untuned",
}


@dataclass(frozen=True)
class SeedResult:
    """One seed.

    Attributes:
        seed: The seed.
        arms: Comparisons by name.
        rises: "held-out" and "native": paired rise from before to after report training.
        drift: r between weights before and after report training, on the same contexts.
        gates: What must hold before the figures mean anything.
        models: References of the models, by name.
        verdict: Whether instilling took, and if not, why; None where it was not judged.
        trajectories: What was seen of each model while it was trained, one row a look; empty without looks.
    """

    seed: int
    arms: Mapping[str, Arm]
    rises: Mapping[str, Rise]
    drift: Mapping[str, float]
    gates: tuple[Gate, ...]
    models: Mapping[str, ModelRef]
    verdict: Verdict | None = None
    trajectories: Mapping[str, Sequence[Mapping[str, JsonValue]]] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        return short_repr(self, f"seed {self.seed}; {', '.join(self.arms)}")

    def _repr_html_(self) -> str:
        return html_rows(f"Seed {self.seed}", [arm.to_dict() for arm in self.arms.values()])

    def to_frame(self) -> pd.DataFrame:
        """One row per arm, with every number of it."""
        return frame_of(arm.to_dict() for arm in self.arms.values())


@dataclass(frozen=True)
class StudyResult:
    """All seeds of a study and what they say together.

    Attributes:
        model: The untuned model.
        control: What is known about the model by construction ("" for a model that nobody made for this).
        seeds: One result per seed.
    """

    model: ModelRef
    control: str
    seeds: tuple[SeedResult, ...]

    @property
    def arm_names(self) -> tuple[str, ...]:
        """Arms in reading order: the published ones first."""
        names = tuple(dict.fromkeys(name for s in self.seeds for name in s.arms))
        return tuple(n for n in ARMS if n in names) + tuple(n for n in names if n not in ARMS)

    @cached_property
    def arms(self) -> list[dict[str, JsonValue]]:
        """One row per arm over all seeds: means, with a two-level (seed, context) interval from two seeds on."""
        return [
            self._row([s.arms[name] for s in self.seeds if name in s.arms]) | {"flag": self.flag}
            for name in self.arm_names
        ]

    @property
    def flag(self) -> str:
        """What stands beside every figure: that instilling failed, or only half took, in some seed; "" where not.

        All figures rest on the instilled model: on its choices, its reports, or those of models trained from it.
        """
        for status in ("failed", "weak"):
            n = sum(s.verdict is not None and s.verdict.status == status for s in self.seeds)
            if n:
                return f"instilling {status}" + (f" in {n} of {len(self.seeds)} seeds" if len(self.seeds) > 1 else "")
        return ""

    @property
    def _drifts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for s in self.seeds for name in s.drift))

    @cached_property
    def rises(self) -> dict[str, TwoLevel]:
        """Mean paired rise over seeds, by where ("held-out", "native")."""
        names = dict.fromkeys(name for s in self.seeds for name in s.rises)
        return {name: two_level_rise([s.rises[name] for s in self.seeds if name in s.rises], rng=0) for name in names}

    def _reasons(self) -> list[str]:
        """Why a figure is undefined or doubtful, once for all the arms that share the reason."""
        shared: dict[tuple[str, str], list[str]] = {}
        for row in self.arms:
            for field, why in cast("dict[str, str]", row["reasons"]).items():
                shared.setdefault((field, why), []).append(str(row["name"]))
        return [
            f"{field}, {'; '.join(names) if len(names) < len(self.arms) else 'every arm'}: {why}."
            for (field, why), names in shared.items()
        ]

    def _bounds(self) -> list[str]:
        """What bounds the held-out r, in one sentence."""
        row = next((row for row in self.arms if row["name"] == "report-trained"), None)
        if row is None or row["pooled_r"] is None:
            return []
        parts = []
        if row["ceiling"] is not None:
            parts.append(f"the noise of measuring caps r at about {_show(row['ceiling'], '.2f')}")
        if row["best_baseline_r"] is not None:
            parts.append(
                f"the best report that knows nothing of its context has {_show(row['best_baseline_r'], '+.2f')}"
            )
        if row["partial_r"] is not None:
            parts.append(f"given the target {_show(row['partial_r'], '+.2f')} is left")
        return [f"Of r in arm report-trained ({_show(row['pooled_r'], '+.2f')}): {'; '.join(parts)}."] if parts else []

    def _row(self, arms: Sequence[Arm]) -> dict[str, JsonValue]:
        rows: list[dict[str, Any]] = [arm.to_dict() for arm in arms]
        if len(rows) == 1:
            return rows[0]
        row: dict[str, Any] = {k: rows[0][k] for k in ("name", "reports_from", "weights_from")}
        for field in ("n_scenarios", "n_asked"):
            row[field] = sum(r[field] for r in rows)
        for field in _MEANS:
            row[field] = _mean([r[field] for r in rows])
        for field, stem in _WITH_ENDS.items():
            values = [r[field] for r in rows if r[field] is not None]
            row[field], widest = _mean(values), 2.0 if field == "margin" else 1.0
            for end, value in zip(("low", "high"), student_interval(values), strict=True):
                row[f"{stem}_{end}"] = _plain(float(np.clip(value, -widest, widest)))
        row["best_baseline"] = max((r["best_baseline"] for r in rows), key=[r["best_baseline"] for r in rows].count)
        both: TwoLevel = two_level([arm.accuracy for arm in arms], rng=0)
        row["pooled_r"] = _plain(both.estimate)
        # Student's t knows no bounds; a correlation does.
        row["ci_low"], row["ci_high"] = (_plain(float(np.clip(end, -1, 1))) for end in _widest(both))
        for field in ("null_p_context", "null_p_attribute", "partial_p", "beyond_untuned_p"):
            row[field] = combined_p([r[field] for r in rows])
        # The bootstrap's own doubts about few seeds do not hold for the wider of the two.
        row["reasons"] = {k: v for k, v in both.reasons.items() if k != "interval" or row["ci_low"] is None}
        return row

    def to_dict(self) -> dict[str, JsonValue]:
        """The one object that `--json` prints."""
        return {
            "model": self.model.model_dump(mode="json", exclude_none=True),
            "control": self.control,
            "interval": (
                "95 % bootstrap over the contexts of this training run"
                if len(self.seeds) == 1
                else "95 %, the wider of a bootstrap over (seed, context) and Student's t over seeds"
            ),
            "arms": list(self.arms),
            "rises": {name: self._rise(name) for name in self.rises},
            "drift": {name: _mean([s.drift.get(name) for s in self.seeds]) for name in self._drifts},
            "gates": [gate.to_dict() | {"seed": s.seed} for s in self.seeds for gate in s.gates],
            "seeds": [
                {
                    "seed": s.seed,
                    "arms": [s.arms[name].to_dict() for name in self.arm_names if name in s.arms],
                    "rises": {name: rise.to_dict() for name, rise in s.rises.items()},
                    "drift": {name: _plain(r) for name, r in s.drift.items()},
                    "models": {name: ref.model_dump(mode="json", exclude_none=True) for name, ref in s.models.items()},
                    "verdict": None if s.verdict is None else s.verdict.model_dump(mode="json"),
                    "trajectories": {name: [dict(row) for row in rows] for name, rows in s.trajectories.items()},
                }
                for s in self.seeds
            ],
        }

    def _repr_html_(self) -> str:
        def shown(row: dict[str, JsonValue]) -> list[object]:
            return [row["name"], *(_show(row[k], f) for k, f in _NOTEBOOK), _interval(row["ci_low"], row["ci_high"])]

        arms = html_table(str(self.model), ["arm", *(k for k, _ in _NOTEBOOK), "95 % interval"], map(shown, self.arms))
        return arms + html_lines("", self.sentences()[1 + len(self.arms) :])

    def to_frame(self) -> pd.DataFrame:
        """One row per arm, with every number of `arms`; why a number is missing stands in `reasons`."""
        return frame_of(self.arms)

    def __repr__(self) -> str:
        said = ", ".join(f"{row['name']} {_show(row['pooled_r'], '+.2f')}" for row in self.arms)
        return short_repr(self, f"{self.model}, {len(self.seeds)} seeds; r: {said}")

    def claims(self) -> tuple[Claim, ...]:
        """Which of the published findings hold, with effect, interval, and what else could explain them.

        Controls other than the arms are part of a protocol's run; see `RunResult.claims`.
        """
        return claims_of(self)

    def summary(self) -> str:
        """The result as a short block: r of each arm, between what it must beat and what it can reach."""
        head = f"{'arm':<32}{'r':>6}  {'95 % interval':<14}{'best guess':>12}{'ceiling':>9}{'without noise':>15}"
        lines = [head + f"{'given target':>14}{'given untuned':>15}"]
        for row in self.arms:
            shown = [
                _show(row["pooled_r"], "+.2f").rjust(6) + "  " + _interval(row["ci_low"], row["ci_high"]).ljust(14),
                _show(row["best_baseline_r"], "+.2f").rjust(12), _show(row["ceiling"], ".2f").rjust(9),
                _show(row["disattenuated_r"], "+.2f").rjust(15), _show(row["partial_r"], "+.2f").rjust(14),
                _show(row["beyond_untuned_r"], "+.2f").rjust(15),
            ]  # fmt: skip
            lines.append(f"{row['name']!s:<32}" + "".join(shown) + self._mark)
        return "\n".join(lines)

    @property
    def _mark(self) -> str:
        return f"  ! {self.flag}" if self.flag else ""

    def _rise(self, name: str) -> dict[str, JsonValue]:
        interval, estimate = self.rise_interval(name), self.rises[name].estimate
        return {
            "rise": _plain(estimate),
            "ci_low": _plain(interval.low),
            "ci_high": _plain(interval.high),
            "p_per_seed": [_plain(s.rises[name].p) for s in self.seeds if name in s.rises],
            "flag": self.flag,
        }

    def rise_interval(self, name: str) -> Interval:
        """Interval of a rise: over (seed, context) where there are several seeds, else over contexts."""
        return (
            _widest(self.rises[name])
            if len(self.seeds) > 1
            else next(s for s in self.seeds if name in s.rises).rises[name].interval
        )

    def sentences(self) -> list[str]:
        """The study in words: the table, the rises, what behaviour did meanwhile, and the gates that fail."""
        head = (
            f"{'arm':<32}{'reports of':<16}{'weights of':<16}{'contexts':>9}{'coverage':>10}{'accuracy':>10}"
            f"{'r(w,target)':>12}{'r':>7}  {'95 % interval':<17}{'null p':>8}"
        )
        lines = [head]
        lines += [_line(row) + self._mark for row in self.arms]
        lines += self._bounds()
        lines += self._reasons()
        for name, rise in self.rises.items():
            interval = self.rise_interval(name)
            over = "seeds and contexts" if len(self.seeds) > 1 else "the contexts of this training run"
            text = f"Report training moved r on {name} contexts by {_show(rise.estimate, '+.2f')}"
            if math.isfinite(interval.low):
                text += f" (95 % interval over {over} {interval.low:+.2f} to {interval.high:+.2f})"
            known = math.isfinite(rise.estimate)
            text += f" ({self.flag})" if self.flag else ""
            lines.append(text + "." if known else f"Whether report training moved r on {name} contexts cannot be told.")
        lines += [
            f"Weights measured before and after report training correlate at "
            f"{_show(_mean([s.drift.get(name) for s in self.seeds]), '.2f')} on {name} contexts."
            for name in self._drifts
        ]
        for s in self.seeds:
            lines += [f"Seed {s.seed}: {gate.sentence}" for gate in s.gates if not gate.passed]
            if s.verdict is not None and (s.verdict.flag or s.verdict.causes):
                lines += [f"Seed {s.seed}: {sentence}" for sentence in s.verdict.sentences()]
        if not any(not gate.passed for s in self.seeds for gate in s.gates):
            lines.append("All gates pass.")
        if self.control:
            lines.append(self.control)
        return lines


_NOTEBOOK = (("coverage", ".0%"), ("pooled_r", "+.2f"), ("ceiling", ".2f"))


def _widest(both: TwoLevel) -> Interval:
    """The nested bootstrap is too short where seeds are few and differ much, Student's t where contexts vary much."""
    ends = [*both.interval, *both.seed_interval]
    known = [end for end in ends if math.isfinite(end)]
    return Interval(min(known), max(known)) if known else Interval.undefined()


def combined_p(values: Sequence[float | None]) -> float | None:
    """Fisher's combination of one-sided p values of independent seeds; None where none is defined.

    Example:
        >>> round(combined_p([0.5, 0.5]), 2), combined_p([None])
        (0.6, None)
    """
    from scipy.stats import combine_pvalues

    known = [v for v in values if v is not None]
    return float(combine_pvalues(known, method="fisher").pvalue) if known else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None and math.isfinite(v)]
    return float(np.mean(known)) if known else None


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _show(value: object, form: str) -> str:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "-"
    text = format(value, form)
    return text.replace("-", "+" if "+" in form else "", 1) if not float(text.rstrip("%")) else text  # never "-0.00"


def _line(row: Mapping[str, JsonValue]) -> str:
    return (
        f"{row['name']!s:<32}{row['reports_from']!s:<16}{row['weights_from']!s:<16}{row['n_scenarios']!s:>9}"
        f"{_show(row['coverage'], '.0%'):>10}{_show(row['choice_accuracy'], '.2f'):>10}"
        f"{_show(row['learned_vs_target_r'], '.2f'):>12}{_show(row['pooled_r'], '+.2f'):>7}  "
        f"{_interval(row['ci_low'], row['ci_high']):<17}{_show_p(row['null_p_context']):>8}"
    )


def _show_p(p: object) -> str:
    return "<.0001" if isinstance(p, float) and p < 1e-4 else _show(p, ".4f")


def _interval(low: object, high: object) -> str:
    return f"{low:+.2f} to {high:+.2f}" if isinstance(low, float) and isinstance(high, float) else "-"
