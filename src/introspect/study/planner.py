"""How many contexts, choices and reports it takes: expected precision and power, by simulation with the engine."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from introspect._notebook import frame_of, html_rows, short_repr
from introspect._random import RNG, root_seed, stream
from introspect.errors import ConfigError
from introspect.measure.ceiling import LOW_CEILING
from introspect.measure.moments import correlation
from introspect.study.imagined import Assumptions, Imagined, imagine

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Expected", "MeasurementPlan", "cheapest_plan", "plan"]

Floats = NDArray[np.float64]

FEWEST = 10
MOST = 1000
N_POOL = 500
TRIALS = (10, 15, 20, 30, 40, 50, 75, 100)
REPORTS = (1, 2, 3, 5, 10)
_CONTEXTS = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 125, 150, 200, 250, 300, 400, 500, 600, 800, 1000)


@dataclass(frozen=True)
class Expected:
    """What a study of one size can be expected to show.

    Attributes:
        contexts: Contexts.
        trials: Choices per context that weights are measured from.
        reports: Reports per context.
        queries: Questions asked to measure and to ask once: contexts x (trials + reports).
        queries_gain: The same and the reports after training: contexts x (trials + 2 x reports).
        r: Expected pooled r; noise on both sides keeps it below the assumed one.
        width: Expected width of its 95 % interval over contexts.
        ceiling_weights: r of the measured with the true weights.
        ceiling: The largest r that the noise of both sides allows.
        power: Chance that the gain shows at 5 %, two-sided, paired over contexts.
        power_se: Its Monte-Carlo standard error.
        usable: Share of contexts whose choices reveal weights.
    """

    contexts: int
    trials: int
    reports: int
    queries: int
    queries_gain: int
    r: float
    width: float
    ceiling_weights: float
    ceiling: float
    power: float
    power_se: float
    usable: float


@dataclass(frozen=True)
class MeasurementPlan:
    """Studies of several sizes, under one set of assumptions.

    Attributes:
        assumptions: What is supposed of the model.
        rows: One per size; of `cheapest_plan` the fewest queries first.
        wish: What was asked for, in words; "" of `plan`.
    """

    assumptions: Assumptions
    rows: tuple[Expected, ...]
    wish: str = ""

    @property
    def cheapest(self) -> Expected:
        """The row that asks least."""
        return self.rows[0] if self.wish else min(self.rows, key=lambda row: row.queries)

    def to_dict(self) -> dict[str, JsonValue]:
        """Plain JSON; undefined numbers are null."""
        rows: list[JsonValue] = [
            {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(row).items()}
            for row in self.rows
        ]
        return {"assumptions": self.assumptions.model_dump(mode="json"), "wish": self.wish, "plans": rows}

    def to_frame(self) -> pd.DataFrame:
        """One row per size."""
        return frame_of(asdict(row) for row in self.rows)

    def __repr__(self) -> str:
        return short_repr(self, f"{len(self.rows)} sizes{'; ' if self.wish else ''}{self.wish}")

    def _repr_html_(self) -> str:
        return html_rows(self.wish or "Plans", [asdict(row) for row in self.rows], self.sentences()[-1])

    def sentences(self) -> list[str]:
        """The plan as a table and what it rests on."""
        a = self.assumptions
        lines = [self.wish] if self.wish else []
        lines.append("contexts  trials  reports   queries  and again  ceiling     r  95 % width   power for the gain")
        lines += [
            f"{row.contexts:8d}{row.trials:8d}{row.reports:9d}{row.queries:10,d}{row.queries_gain:11,d}"
            f"{row.ceiling:9.2f}{row.r:6.2f}{row.width:12.3f}{row.power:10.0%} +- {row.power_se:.0%}"
            for row in self.rows
        ]
        lines.append("Queries ask for choices and reports once; 'and again' adds the reports after training.")
        noise = "always the better option" if a.scale is None else f"{a.scale:g} logits per 100 units of weight"
        lines += [
            f"Supposed: {a.n_attributes} attributes; choices with {noise}, {a.lapse:.0%} blind picks"
            + (f", pair errors of {a.item_sd:g} logits" if a.item_sd else "")
            + f", {'graded' if a.graded else 'letters only'}, {a.design} trials; r of {a.r:g} without measurement "
            f"noise, a gain of {a.gain:+g}; single reports of reliability {a.reliability:g}.",
            "A plan is as good as what it supposes: a pilot of 20 contexts tells scale, r and reliability.",
        ]
        return lines

    def __str__(self) -> str:
        return "\n".join(self.sentences())


def plan(
    contexts: int | Iterable[int] = 100,
    trials: int | Iterable[int] = 50,
    reports: int | Iterable[int] = 5,
    assumptions: Assumptions | None = None,
    *,
    rng: RNG = 0,
    n_sims: int = 400,
    n_pool: int = N_POOL,
) -> MeasurementPlan:
    """Expected precision and power of a study of one size, or of each combination of several.

    Choices of `n_pool` contexts are simulated and fitted with the default estimator, reports are simulated to have
    the assumed accuracy, and imagined studies are drawn from them. Intervals are Student's t on the jackknifed
    Fisher z of the pooled r; the power is that of the same for the paired difference.

    Args:
        contexts: Contexts, 10 to 1,000.
        trials: Choices per context.
        reports: Reports per context.
        assumptions: Of the model that will be asked.
        rng: Seed.
        n_sims: Imagined studies per size.
        n_pool: Contexts whose choices are simulated and fitted.

    Raises:
        ConfigError: A number out of range.

    Example:
        >>> both = plan(contexts=[20, 80], trials=20, reports=3, n_pool=50)
        >>> small, large = both.rows
        >>> bool(small.width > large.width and small.power < large.power), large.queries
        (True, 1840)
    """
    sizes = [_sizes("contexts", contexts, FEWEST, MOST), _sizes("trials", trials, 2, 500)]
    sizes.append(_sizes("reports", reports, 1, 100))
    _check_simulation(n_sims, n_pool)
    supposed = assumptions or Assumptions()
    seed = root_seed(rng)
    world = imagine(supposed, sizes[1], sizes[2], seed, n_pool)
    rows = [_expect(world, c, t, k, n_sims, seed) for c in sizes[0] for t in sizes[1] for k in sizes[2]]
    return MeasurementPlan(supposed, tuple(rows))


def cheapest_plan(
    *,
    width: float | None = None,
    power: float | None = None,
    ceiling: float = LOW_CEILING,
    assumptions: Assumptions | None = None,
    trials: Sequence[int] = TRIALS,
    reports: Sequence[int] = REPORTS,
    rng: RNG = 0,
    n_sims: int = 400,
    n_pool: int = N_POOL,
) -> MeasurementPlan:
    """The studies with the fewest queries that reach a wanted width, a wanted power, or both.

    For every number of trials and of reports the smallest sufficient number of contexts is sought.

    Args:
        width: Wanted expected width of the 95 % interval of the pooled r.
        power: Wanted power for the assumed gain; queries then include the reports after training.
        ceiling: Least ceiling. Without one the cheapest plan is a narrow interval around a number that mostly
            shows the noise of measuring.
        assumptions: Of the model that will be asked.
        trials: Numbers of choices per context to consider.
        reports: Numbers of reports per context to consider.
        rng: Seed.
        n_sims: Imagined studies per size.
        n_pool: Contexts whose choices are simulated and fitted.

    Returns:
        The five cheapest combinations, cheapest first.

    Raises:
        ConfigError: No wish, one out of range, or none of the sizes reaches it.

    Example:
        >>> found = cheapest_plan(width=0.25, trials=[15, 30], reports=[1, 3], n_pool=50)
        >>> bool(found.cheapest.width <= 0.25 and found.cheapest.queries == found.rows[0].queries)
        True
    """
    if width is None and power is None:
        raise ConfigError("say what to reach: a width of the 95 % interval, a power for the gain, or both")
    if width is not None and not 0 < width < 2:
        raise ConfigError(f"width must lie between 0 and 2, got {width}")
    if power is not None and not 0 < power < 1:
        raise ConfigError(f"power must lie between 0 and 1, got {power}")
    if not 0 <= ceiling < 1:
        raise ConfigError(f"ceiling must be from 0 to below 1, got {ceiling}")
    _check_simulation(n_sims, n_pool)
    options = _sizes("trials", trials, 2, 500), _sizes("reports", reports, 1, 100)
    supposed = assumptions or Assumptions()
    if power is not None and not supposed.gain:
        raise ConfigError("power needs a gain to be found; the assumed gain is 0")
    seed = root_seed(rng)
    world = imagine(supposed, *options, seed, n_pool)

    def enough(row: Expected) -> bool:
        return (width is None or row.width <= width) and (power is None or row.power >= power)

    def cost(row: Expected) -> int:
        return row.queries if power is None else row.queries_gain

    found: list[Expected] = []
    best: Expected | None = None
    clear = [(t, k) for t in options[0] for k in options[1] if world.total_ceiling(t, k) >= ceiling]
    if not clear:
        t, k = options[0][-1], options[1][-1]
        raise ConfigError(
            f"none of the sizes reaches a ceiling of {ceiling:g}; {t} trials and {k} reports reach "
            f"{world.total_ceiling(t, k):.2f}: consider more trials or reports, or a lower ceiling"
        )
    for t, k in clear:
        low, high = 0, len(_CONTEXTS)  # the first sufficient place lies in [low, high]
        rows: dict[int, Expected] = {}
        while low < high:
            middle = (low + high) // 2
            rows[middle] = _expect(world, _CONTEXTS[middle], t, k, n_sims, seed)
            low, high = (low, middle) if enough(rows[middle]) else (middle + 1, high)
        if low < len(_CONTEXTS):
            found.append(rows[low])
        elif best is None or (rows[low - 1].power if width is None else -rows[low - 1].width) > (
            best.power if width is None else -best.width
        ):
            best = rows[low - 1]
    wish = " and ".join(
        ([f"a 95 % interval of width {width:g}"] if width is not None else [])
        + ([f"a power of {power:.0%} for a gain of {supposed.gain:+g}"] if power is not None else [])
    )
    if not found and best is not None:
        raise ConfigError(
            f"no study of up to {MOST:,} contexts reaches {wish}; the nearest is {best.contexts} contexts x "
            f"{best.trials} trials x {best.reports} reports with width {best.width:.3f} and power {best.power:.0%}"
        )
    return MeasurementPlan(supposed, tuple(sorted(found, key=cost)[:5]), f"Fewest queries for {wish}:")


def _sizes(name: str, given: int | Iterable[int], low: int, high: int) -> list[int]:
    sizes = [given] if isinstance(given, int) else list(given)
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int) or not low <= size <= high:
            raise ConfigError(f"{name} must be whole numbers from {low} to {high:,}, got {size!r}")
    if not sizes:
        raise ConfigError(f"{name}: at least one number is needed")
    return sorted(set(sizes))


def _check_simulation(n_sims: int, n_pool: int) -> None:
    for name, value in (("n_sims", n_sims), ("n_pool", n_pool)):
        if isinstance(value, bool) or value < 20:
            raise ConfigError(f"{name} must be 20 or more, got {value}")


def _expect(world: Imagined, contexts: int, trials: int, reports: int, n_sims: int, seed: int) -> Expected:
    from scipy.special import stdtrit

    sums = world.sums(trials, reports)
    # The same contexts before and after, and the same draws for every plan of this many contexts.
    drawn = stream(seed, "plan", "studies", contexts).integers(0, sums.shape[1], (n_sims, contexts))
    z, error, rise, rise_error = _jackknife(sums[:, drawn])
    t = float(stdtrit(contexts - 1, 0.975))
    found = np.abs(rise) > t * rise_error
    usable = sums[0, :, 0] > 0
    power = float(found.mean())
    return Expected(
        contexts=contexts,
        trials=trials,
        reports=reports,
        queries=contexts * (trials + reports),
        queries_gain=contexts * (trials + 2 * reports),
        r=float(np.nanmean(np.tanh(z))),
        width=float(np.nanmean(np.tanh(z + t * error) - np.tanh(z - t * error))),
        ceiling_weights=world.ceiling(trials),
        ceiling=world.total_ceiling(trials, reports),
        power=power,
        power_se=math.sqrt(power * (1 - power) / n_sims),
        usable=float(usable.mean()),
    )


def _jackknife(sums: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Fisher z of the pooled r before and its standard error; the rise of r and its standard error, [S] each.

    Args:
        sums: What each drawn context adds before and after, [2, S, C, 6].
    """
    n = sums.shape[2]
    total = sums.sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = correlation(total)
        left_out = correlation(total[:, :, None] - sums)
        z, parts = np.arctanh(whole), np.arctanh(left_out)
        spread = math.sqrt(n - 1) * parts[0].std(axis=1)
        # On z as well: a rise from .85 to .9 is no smaller a gain than one from .5 to .6.
        rise_spread = math.sqrt(n - 1) * (parts[1] - parts[0]).std(axis=1)
    return z[0], spread, z[1] - z[0], rise_spread
