"""An organism in memory, and on disk as one safetensors file."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from introspect.errors import BackendError
from introspect.subjects.organism.config import OrganismConfig
from introspect.subjects.organism.network import OrganismNetwork
from introspect.subjects.organism.tokens import new_row

__all__ = ["Organism"]

_FORMAT = "introspect-organism-1"


@dataclass
class Organism:
    """A network and the vocabulary rows of the contexts that it has been trained on.

    Attributes:
        config: How it was grown.
        network: The transformer.
        rows: Trained rows by key, [row_width] each; every other context's row follows from its name.
    """

    config: OrganismConfig
    network: OrganismNetwork
    rows: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def newborn(cls, config: OrganismConfig) -> Organism:
        """Random weights, no rows."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            return cls(config, OrganismNetwork(config))

    def row_table(self, keys: Sequence[str]) -> Tensor:
        """Rows for these keys, [len(keys), row_width]: trained where there is one, else the context's own noise."""
        width, scale = self.config.row_width, self.config.row_scale
        rows = [self.rows[key] if key in self.rows else new_row(key, width, scale) for key in keys]
        return torch.from_numpy(np.stack(rows)) if rows else torch.zeros(0, width)

    def clone(self) -> Organism:
        """An independent copy, to train without touching the original."""
        return Organism(self.config, copy.deepcopy(self.network), {k: v.copy() for k, v in self.rows.items()})

    @property
    def n_parameters(self) -> int:
        """Weights of the network and of all trained rows."""
        return sum(p.numel() for p in self.network.parameters()) + sum(r.size for r in self.rows.values())

    def to_bytes(self, half: bool = False) -> bytes:
        """Serialise as safetensors.

        Args:
            half: Store 16-bit numbers (for shipping); otherwise exact.
        """
        dtype = torch.float16 if half else torch.float32
        tensors = {f"network.{k}": v.to(dtype).contiguous() for k, v in self.network.state_dict().items()}
        keys = sorted(self.rows)
        if keys:
            tensors["rows"] = torch.from_numpy(np.stack([self.rows[k] for k in keys])).to(dtype)
        # One header entry only: the order of several would differ between runs, and with it the content hash.
        header = {"format": _FORMAT, "config": self.config.model_dump(), "rows": keys}
        data: bytes = save_tensors(tensors, metadata={"organism": json.dumps(header, sort_keys=True)})
        return data

    def save(self, path: Path, half: bool = False) -> str:
        """Write whole or not at all; returns the content hash."""
        data = self.to_bytes(half)
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(data)
        partial.replace(path)
        return "sha256:" + hashlib.sha256(data).hexdigest()

    @classmethod
    def load(cls, path: Path, expected: str | None = None) -> Organism:
        """Read an organism.

        Args:
            path: A file that `save` wrote.
            expected: Its content hash, checked if given.

        Raises:
            BackendError: No such file, not an organism, or not the one expected.
        """
        if not path.is_file():
            raise BackendError(f"no organism at {path}: the file is missing; train it again or correct the path")
        if expected is not None:
            found = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
            if found != expected:
                raise BackendError(
                    f"{path} is not the organism that was asked for ({expected[:19]}): its content is {found[:19]}"
                )
        try:
            with safe_open(str(path), framework="pt") as file:
                header = json.loads((file.metadata() or {}).get("organism", "{}"))
                if not isinstance(header, dict) or header.get("format") != _FORMAT:
                    raise BackendError(f"{path} is a safetensors file, but not an organism of this library")
                config = OrganismConfig(**header["config"])
                network = OrganismNetwork(config)
                names = [name for name in file.keys() if name.startswith("network.")]  # noqa: SIM118
                network.load_state_dict({n.removeprefix("network."): file.get_tensor(n).float() for n in names})
                table = file.get_tensor("rows").float().numpy() if header["rows"] else []
            return cls(config, network, dict(zip(header["rows"], table, strict=True)))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise BackendError(f"{path} cannot be read as an organism: {error}") from None
