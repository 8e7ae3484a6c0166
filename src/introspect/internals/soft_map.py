"""Maps from a target's vectors to soft tokens of an explainer."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from introspect.errors import ConfigError

__all__ = ["MapKind", "SoftMap", "fit_ridge"]

MapKind = Literal["scale", "scale+bias", "low-rank", "full"]


class SoftMap(nn.Module):
    """A learned map of vectors: ``scale`` (one number), ``scale+bias`` (width + 1), those and ``low-rank``, ``full``.

    It begins as the identity where both widths agree, so that an untrained map is plain injection.

    Args:
        width: Of the vectors that come in.
        out_width: Of the explainer's stream; `width` if None.
        kind: How much is learned.
        rank: Of "low-rank".
        scale: What it begins with.
        seed: Of the random half of "low-rank" and of "full" between different widths.

    Raises:
        ConfigError: A map that keeps the width between models of different widths.

    Example:
        >>> SoftMap(4, kind="scale+bias").n_parameters, SoftMap(4, 6, kind="full")(torch.ones(2, 4)).shape
        (5, torch.Size([2, 6]))
    """

    def __init__(
        self, width: int, out_width: int | None = None, *, kind: MapKind = "scale+bias", rank: int = 16,
        scale: float = 1.0, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        out = width if out_width is None else out_width
        if kind not in ("scale", "scale+bias", "low-rank", "full"):
            raise ConfigError(f"a map is scale, scale+bias, low-rank or full, got {kind!r}")
        if kind != "full" and out != width:
            raise ConfigError(f"a {kind} map keeps the width, but it goes from {width} to {out}: use a full map")
        self.kind, self.width, self.out_width = kind, width, out
        generator = torch.Generator().manual_seed(seed)
        if kind == "full":
            start = torch.eye(width) if out == width else torch.randn(out, width, generator=generator) / width**0.5
            self.matrix = nn.Parameter(scale * start)
        else:
            self.scale = nn.Parameter(torch.tensor(float(scale)))
        if kind != "scale":
            self.bias = nn.Parameter(torch.zeros(out))
        if kind == "low-rank":
            self.down = nn.Parameter(torch.randn(rank, width, generator=generator) / width**0.5)
            self.up = nn.Parameter(torch.zeros(out, rank))

    @property
    def n_parameters(self) -> int:
        """Numbers that are learned."""
        return sum(p.numel() for p in self.parameters())

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Map [..., width] to [..., out_width]."""
        if self.kind == "full":
            return vectors @ self.matrix.T + self.bias
        mapped = self.scale * vectors
        if self.kind == "low-rank":
            mapped = mapped + (vectors @ self.down.T) @ self.up.T
        return mapped if self.kind == "scale" else mapped + self.bias

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What was learned, by name."""
        return {name: value.detach().cpu().numpy() for name, value in self.state_dict().items()}

    def load(self, arrays: dict[str, npt.NDArray[Any]]) -> SoftMap:
        """Take what was learned before."""
        self.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in arrays.items()})
        return self


def fit_ridge(
    source: npt.NDArray[np.float32], goal: npt.NDArray[np.float32], penalty: float = 1e-2
) -> tuple[SoftMap, float]:
    """The affine map from one model's vectors to another's of the same tokens, in closed form.

    Args:
        source: [tokens, width].
        goal: [tokens, out_width], of the same tokens.
        penalty: Ridge, as a share of the mean variance of the source.

    Returns:
        A full map, and the share of the goal's variance that it explains on every fifth token, which was held out.

    Raises:
        ConfigError: Different numbers of tokens, or fewer than ten.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
        >>> map_, explained = fit_ridge(x, x[:, ::-1] * 2)
        >>> round(explained, 3)
        1.0
    """
    if len(source) != len(goal) or len(source) < 10:
        raise ConfigError(f"a map is fitted on the same tokens of both models: got {len(source)} and {len(goal)}")
    held = np.arange(len(source)) % 5 == 0
    x, y = source[~held].astype(np.float64), goal[~held].astype(np.float64)
    mean_x, mean_y = x.mean(0), y.mean(0)
    x = x - mean_x
    gram = x.T @ x
    gram += np.eye(len(gram)) * penalty * np.trace(gram) / len(gram)
    matrix = np.linalg.solve(gram, x.T @ (y - mean_y)).T
    bias = mean_y - matrix @ mean_x
    residual = goal[held] - (source[held] @ matrix.T + bias)
    explained = 1.0 - float((residual**2).sum() / ((goal[held] - mean_y) ** 2).sum())
    made = SoftMap(source.shape[1], goal.shape[1], kind="full")
    return made.load({"matrix": matrix.astype(np.float32), "bias": bias.astype(np.float32)}), explained
