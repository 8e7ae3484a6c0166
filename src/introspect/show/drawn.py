"""What every figure is made with, and what it comes as: the picture and the numbers in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from introspect.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "MARKERS", "Drawn", "arm_look", "blank", "number", "own_figure", "tidy_axis"]

# Okabe and Ito's colours, told apart by nearly everyone; markers differ too, so that a grey print can be read.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_ARMS = {"untuned": 6, "instilled": 1, "native-untuned": 6, "native-before": 1}


@dataclass(frozen=True)
class Drawn:
    """A figure with its numbers.

    Attributes:
        figure: matplotlib's figure, of its own: no pyplot, nothing to close.
        data: One row per thing drawn, plain values.
        caption: What it shows, in a sentence or two, for below the figure.
    """

    figure: Figure
    data: list[dict[str, Any]]
    caption: str

    def save(self, path: Path | str, dpi: int = 200) -> None:
        """Write it as PNG, PDF or SVG, by the path's ending.

        Raises:
            ConfigError: The ending is no picture format, or the file cannot be written.
        """
        try:
            self.figure.savefig(path, dpi=dpi)
        except (ValueError, OSError) as error:
            raise ConfigError(f"the figure cannot be saved as {path}: {error}") from None

    def to_frame(self) -> pd.DataFrame:
        """The numbers as a data frame.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("pandas", "notebook") from None
        return pd.DataFrame(self.data)

    def __repr__(self) -> str:
        return f"Drawn({len(self.data)} rows: {self.caption})"

    def _repr_png_(self) -> bytes:
        out = BytesIO()
        self.figure.savefig(out, format="png", dpi=110)
        return out.getvalue()


def own_figure(**options: Any) -> Figure:
    """A figure of its own that a notebook shows: no pyplot, nothing global, nothing to close.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "notebook") from None

    # Outside of pyplot nobody teaches a notebook how to show a figure, and it would print its address instead.
    class Shown(Figure):
        def _repr_png_(self) -> bytes:
            out = BytesIO()
            self.savefig(out, format="png", dpi=110)
            return out.getvalue()

    figure = Shown(layout="constrained", **options)
    FigureCanvasAgg(figure)
    return figure


def blank(width: float, height: float, columns: int = 1, **options: Any) -> tuple[Figure, Sequence[Any]]:
    """An empty figure of its own, and its axes.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = own_figure(figsize=(width, height))
    return figure, list(figure.subplots(1, columns, squeeze=False, **options)[0])


def tidy_axis(axis: Any) -> None:
    """Only the two lines that carry numbers."""
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.tick_params(labelsize=9)


def number(value: Any) -> float:
    """A number, or NaN for what is none (None, text)."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else math.nan


def arm_look(name: str) -> tuple[str, str]:
    """Colour and marker of an arm: untuned black diamonds, before training orange squares, after it blue dots."""
    place = next((k for start, k in _ARMS.items() if name == start), 0)
    return COLOURS[place], {1: "s", 6: "D"}.get(place, "o")
